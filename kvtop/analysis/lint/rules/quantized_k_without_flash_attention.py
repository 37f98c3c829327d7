"""A quantized K cache without flash attention: starts, and is slower than need be.

Why: without the fused kernel every step dequantizes the keys of the whole context and writes all scores to memory;
the V cache must stay at 16 bits, so half of the saving is lost too. `auto` gives up flash attention silently where a
layer's device has no kernel for the pair: on Metal whenever K and V types differ, on CUDA with iq4_nl.

Source: `resolve_fused_ops`, src/llama-context.cpp; ggml-metal-device.m (types must be equal); llama.cpp b11434.

Cost: the score buffer, and tokens per second, which cannot be computed beforehand.

Fix: `--flash-attn on` with equal types.

Fires on: `-ctk q8_0 -fa off`. Quiet on: `-ctk q8_0 -ctv q8_0 -fa on`.
"""

from kvtop.analysis.lint.amounts import all_bytes, bits, exact, is_quantized
from kvtop.analysis.lint.fixes.fix import EIGHT_BITS, Way, cache_types, safe_type
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 16384 -ctk q8_0 -fa off", gpus=("24GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -c 16384 -ctk q8_0 -ctv q8_0 -fa on", gpus=("24GiB",), model="llama-3.1-8b")


def check(target: LintTarget) -> Outcome:
    """`auto` needs the backend; a quantized V forces flash attention on and is another rule's concern."""
    settings = target.llama
    if not is_quantized(settings.type_k) or is_quantized(settings.type_v) or settings.flash_attention == "on":
        return None
    if not target.caches_tokens:
        return None
    why = ""
    if settings.flash_attention == "auto":
        if target.compute_api is None:
            return Lacks("flash attention is auto, and what it becomes depends on the backend: pass --gpu")
        if target.compute_api == "metal":
            why = "on Metal auto turns flash attention off when K and V types differ; "
        elif target.plan is None and target.compute_api in {"cuda", "rocm"}:
            return Lacks(f"flash attention is auto, and what it becomes depends on the model: {target.plan_note}")
        elif target.plan is None or target.plan.flash_attention is not False:
            return None
    fused = target.plan_with(flash_attn="on", cache_type_v=settings.type_k)
    cost = ""
    if fused is not None and target.plan is not None and all_bytes(target.plan) > all_bytes(fused):
        cost = f"{exact(all_bytes(target.plan) - all_bytes(fused))} more than flash attention with both quantized"
    return Found(
        "warning",
        f"{why}keys are quantized without flash attention: every step dequantizes the whole context, and V stays "
        f"{settings.type_v}",
        evidence=target.said("cache-type-k", "cache-type-v", "flash-attn") or "default --flash-attn auto",
        cost=cost,
        fix=_fix(target),
        otherwise="--flash-attn on with equal types, and room for them",
    )


def _fix(target: LintTarget) -> tuple[Way, ...]:
    """Both caches alike: at the keys' bits where those are harmless, else at 8 or, for sensitive families, plain."""
    type_k, safe = target.llama.type_k, safe_type(target)
    kind = type_k if safe == EIGHT_BITS and bits(type_k) >= bits(safe) else safe
    return (cache_types(kind, flash_attn="on"),)
