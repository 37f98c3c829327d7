"""Different types for K and V: slow on most backends, whichever way round.

Why: the fused kernels that generate are compiled for some equal pairs. On Metal a mixed pair has no kernel and
attention runs on the CPU. On CUDA and ROCm builds before September 2026 it ran on the CPU too, silently (prompt
processing 11250 -> 381 tokens/s on an RTX 4090 for q4_0/q8_0); newer ones convert the whole used cache to f16 for every
token and log it once. Vulkan and the CPU take every pair; only bf16 may not be mixed on Vulkan.

Source: ggml-cuda/fattn.cu and `GGML_CUDA_FA_QUANTS` (q4_0-q4_0, q8_0-q8_0, f16-f16, bf16-bf16), ggml-metal-device.m,
ggml-vulkan.cpp, llama.cpp b11434; llama.cpp PR 28079, issue 27150.

Cost: decode speed, 2 to 20 % and more with long contexts where it converts, up to 30 times where it falls to the CPU.

Fix: one type for both, q8_0 first; or a build with `-DGGML_CUDA_FA_QUANTS=all`.

Fires on: q8_0 with q4_0 on CUDA. Quiet on: the same on Vulkan, and q8_0 with q8_0.
"""

from kvtop.analysis.lint.families import family_of
from kvtop.analysis.lint.fixes.fix import Way, cache_types, safe_type
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.planning.llamacpp.kernel_pairs import FIRST_CONVERTING_BUILD, LAST_FALLING_BUILD

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 32768 -ctk q8_0 -ctv q4_0", gpus=("24GiB",), model="llama-3.1-8b")
QUIET = Example(
    "llama-server -m MODEL -c 32768 -ctk q8_0 -ctv q4_0", gpus=("16GiB,backend=vulkan",), model="llama-3.1-8b"
)


def check(target: LintTarget) -> Outcome:
    """By backend and build; without a backend only where layers on a device are asked for."""
    settings = target.llama
    if settings.type_k == settings.type_v or settings.flash_attention == "off":
        return None
    if not settings.kv_offload:
        return None  # the CPU reads a cache that lies with it, and takes every pair
    if family_of(target)[0] == "latent attention" or not target.caches_tokens:
        return None
    pair = f"{settings.type_k}/{settings.type_v}"
    api = target.compute_api
    if api == "cpu" or (api == "vulkan" and "bf16" not in {settings.type_k, settings.type_v}):
        return None
    if api is None and not target.wants_accelerator:
        return Lacks(f"whether {pair} is slow depends on the backend (Metal, CUDA: yes; Vulkan, CPU: no): pass --gpu")
    if api == "metal" and settings.flash_attention == "auto" and not _forces_fusion(settings.type_v):
        return None  # auto gives flash attention up there: `quantized-k-without-flash-attention`
    return Found(
        "warning",
        f"K and V have different types ({pair}): {_what(target)}",
        evidence=target.said("cache-type-k", "cache-type-v"),
        cost="decode speed; not computable beforehand",
        fix=_fix(target),
        otherwise="one type for both caches, and room for it",
    )


def _fix(target: LintTarget) -> tuple[Way, ...]:
    safe = safe_type(target)
    is_plain = safe != "f16" and family_of(target)[0] is None
    smaller = (cache_types("q4_0", note=" once its quality is measured"),) if is_plain else ()
    return (cache_types(safe), *smaller)


def _forces_fusion(type_v: str) -> bool:
    return type_v not in {"f16", "bf16", "f32"}


def _what(target: LintTarget) -> str:
    api, build = target.compute_api, target.build
    on_cpu = "attention runs on the CPU"
    converts = "every generated token converts the used cache to f16 first (one warning in the log)"
    if api == "metal":
        return f"Metal has no kernel for that, so {on_cpu}"
    if api == "vulkan":
        return f"Vulkan mixes everything but bf16, so {on_cpu}"
    if api is None:
        return (
            f"on Metal and on CUDA builds before September 2026 {on_cpu}, on newer CUDA builds {converts}; Vulkan is "
            "fine. Which of them this is, is unknown"
        )
    if build is None:
        return f"stock CUDA builds have no kernel for the pair: {converts}, and before September 2026 {on_cpu} silently"
    if build < LAST_FALLING_BUILD:
        return f"at b{build} {on_cpu}, silently"
    if build < FIRST_CONVERTING_BUILD:
        return f"depending on whether b{build} has PR 28079, {converts}, or {on_cpu} silently"
    return f"a stock build has no kernel for the pair: {converts}"
