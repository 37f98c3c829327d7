"""The cache is quantized while the weights are not: a step down in weights saves more, for less.

Why: weights of 8 or 16 bits against about 4.85 (Q4_K_M) or 8 (FP8) are often gigabytes, and the loss is well measured.
K=q4_0 costs about as much quality as q4_K_M weights do.

Source: llama.cpp PR 7412 (exchange rate between weights and caches); sizes from the file itself.

Cost: computed: what each of the two saves here.

Fix: a Q4_K_M to Q6_K file first, then the cache.

Fires on: an F16 model with a q4_0 cache. Quiet on: a Q4_K_M model with the same.
"""

from kvtop.analysis.lint.amounts import cache_bytes, exact, is_quantized, weight_bytes
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.model_file import GgufHeader
from kvtop.planning.protocol.lint_traits import CacheProvision
from kvtop.planning.registry import PLANNED

ENGINES = PLANNED
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 8192 -ctk q8_0 -ctv q8_0", gpus=("48GiB",), model="llama-3.1-8b-f16")
QUIET = Example("llama-server -m MODEL -c 8192 -ctk q8_0 -ctv q8_0", gpus=("48GiB",), model="llama-3.1-8b")
WIDE_BITS, EIGHT_BITS = 7.0, 8.0
_WIDE_FILES = (0, 1, 7, 32)
"""`general.file_type` of files in F32, F16, Q8_0 and BF16 (llama_ftype, include/llama.h)."""
Q4_K_M_BITS = 4.85
"""Of a whole file, by llama.cpp's own table of quantization types."""


def check(target: LintTarget) -> Outcome:
    """Needs the model file and the plan."""
    if target.refusal:
        return None
    if target.settings is not None:
        return _gguf(target)
    return _checkpoint(target)


def _gguf(target: LintTarget) -> Outcome:
    settings = target.llama
    if not (is_quantized(settings.type_k) or is_quantized(settings.type_v)):
        return None
    if target.plan is None or target.header is None:
        return Lacks(f"the weights are unknown: {target.plan_note}")
    bits, weights = bits_per_weight(target.header), weight_bytes(target.plan)
    is_wide = target.header.metadata.get("general.file_type", _WIDE_FILES[0]) in _WIDE_FILES
    if bits is not None and bits < EIGHT_BITS and not is_wide:
        return None  # a small model's embeddings weigh much, and its file has few bits already
    if bits is None or bits < WIDE_BITS or weights is None:
        return None
    plain = target.plan_with(cache_type_k="f16", cache_type_v="f16")
    if plain is None:
        return None
    by_cache = cache_bytes(plain) - cache_bytes(target.plan)
    by_weights = int(weights * (1 - Q4_K_M_BITS / bits))
    if by_weights <= by_cache or by_cache <= 0:  # without a cache there is nothing to weigh
        return None
    return _found(target.said("cache-type-k", "cache-type-v"), bits, by_cache, by_weights, "a Q4_K_M to Q6_K file")


def bits_per_weight(header: GgufHeader) -> float | None:
    """Over all tensors; None where a type is unknown."""
    values = size_bytes = 0
    for tensor in header.tensors:
        if tensor.size_bytes is None:
            return None
        count = 1
        for extent in tensor.shape:
            count *= extent
        values += count
        size_bytes += tensor.size_bytes
    return size_bytes * 8 / values if values else None


def _checkpoint(target: LintTarget) -> Outcome:
    """16-bit weights: half of them go with FP8 or 8 bits, three quarters with 4."""
    name = next(iter(target.traits.cache_type_options), "")
    value = target.value(name)
    if value in {None, "auto", "float16", "bfloat16"} or target.value("quantization") is not None:
        return None
    checkpoint, plan = target.checkpoint, target.plan
    if checkpoint is None or plan is None:
        return Lacks(f"the weights are unknown: {target.plan_note}")
    if checkpoint.config.get("quantization_config") or checkpoint.config.get("quantization"):
        return None
    weights = weight_bytes(plan)
    if weights is None:
        return Lacks("the weights on the device are unknown")
    if target.traits.cache is CacheProvision.POOL:
        likely = None if plan.vllm is None else plan.vllm.pool_estimate
        pool = likely.pool.value_bytes if likely is not None else None
        if pool is None or weights // 2 <= pool * len(plan.devices):
            return None
        # FP8 makes the pool hold as much as one of twice the bytes; FP8 weights free half of theirs for it.
        return _found(target.said(name), 16, pool * len(plan.devices), weights // 2, "an FP8 or AWQ checkpoint")
    plain = target.plan_with(**{name: None})
    if plain is None:
        return None
    by_cache = cache_bytes(plain) - cache_bytes(plan)
    by_weights = weights * 3 // 4
    if by_weights <= by_cache or by_cache <= 0:  # without a cache that shrinks there is nothing to weigh
        return None
    return _found(target.said(name), 16, by_cache, by_weights, "a 4-bit checkpoint")


def _found(evidence: str, bits: float, by_cache: int, by_weights: int, fix: str) -> Found:
    return Found(
        "info",
        f"the weights have {bits:.3g} bits each and are the bigger lever: quantize them first, then the cache",
        evidence=evidence,
        cost=f"the quantized cache saves {exact(by_cache)}, {fix} would save about {exact(by_weights)}",
        fix=f"{fix} first",
    )
