"""iq4_nl as a cache type on CUDA or Metal: attention runs on the CPU, silently.

Why: the CUDA flash-attention kernels read f32, f16, bf16, q4_0, q4_1, q5_0, q5_1 and q8_0, and
Metal's the same. A quantized V forces flash attention on without looking for a kernel, so the operation lands on the
CPU and nothing is logged.

Source: `ggml_cuda_flash_attn_ext_supported`, ggml-cuda/fattn.cu, and ggml-metal-device.m, llama.cpp b11434 (PR 27248
would add it to CUDA, open).

Cost: prompt processing and decoding at the CPU's speed.

Fix: `q4_0`: the same 4.5 bits a value, and no worse with the rotation that is on by default.

Fires on: iq4_nl on CUDA and Metal. Quiet on: q4_0 there, and iq4_nl on Vulkan.
"""

from kvtop.analysis.lint.fixes.fix import Fix
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 16384 -ctk iq4_nl -ctv iq4_nl", gpus=("24GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -c 16384 -ctk q4_0 -ctv q4_0", gpus=("24GiB",), model="llama-3.1-8b")
_NAMES = {"cuda": "CUDA", "rocm": "ROCm", "metal": "Metal"}


def check(target: LintTarget) -> Outcome:
    """Needs the backend."""
    settings = target.llama
    if "iq4_nl" not in {settings.type_k, settings.type_v} or settings.flash_attention == "off":
        return None
    if target.compute_api in {"cpu", "vulkan"} or not settings.kv_offload:
        return None
    if target.compute_api is None and not target.wants_accelerator:
        return Lacks("iq4_nl is slow on CUDA and Metal only, and the backend is unknown: pass --gpu")
    on = _NAMES.get(target.compute_api or "", "on a CUDA or Metal build (the backend is unknown here) it")
    falls = settings.type_v == "iq4_nl" or settings.flash_attention == "on"
    what = "silently falls back to attention on the CPU" if falls else "gives up flash attention"
    return Found(
        "warning",
        f"{on} has no flash-attention kernel for iq4_nl and {what}",
        evidence=target.said("cache-type-k", "cache-type-v"),
        cost="attention at the CPU's speed" if falls else "the score buffer of attention without fusion",
        fix=(_fix(settings.type_k, settings.type_v),),
    )


def _fix(type_k: str, type_v: str) -> Fix:
    named = (("cache-type-k", type_k), ("cache-type-v", type_v))
    return Fix(tuple((option, "q4_0") for option, kind in named if kind == "iq4_nl"), ": the same bytes")
