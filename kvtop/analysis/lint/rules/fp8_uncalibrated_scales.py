"""An FP8 KV cache without calibrated scales: all of them are 1.0.

Why: e4m3 has 3 bits of mantissa and reaches to 448; values beyond are clipped. A checkpoint calibrated with
llm-compressor or ModelOpt brings a scale for each layer; without it vLLM takes 1.0, which mostly works and is
not measured. `--calculate-kv-scales` is gone. Sparse latent attention (DeepSeek V3.2 and V4, GLM 5) stores a
scale with every row instead.

Source: vLLM 0.32.0 docs features/quantization/quantized_kvcache, config/cache.py.

Cost: quality, by model.

Fix: a checkpoint with `kv_cache_scheme`, or measure yours with and without.

Fires on: fp8 on a plain checkpoint. Quiet on: no fp8, and per-token-head types, which carry their scales.
"""

from collections.abc import Mapping

from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL --kv-cache-dtype fp8", gpus=("H100",), model="llama-3.1-8b")
QUIET = Example("vllm serve MODEL", gpus=("H100",), model="llama-3.1-8b")
_SCALED_BY_TENSOR = frozenset({"fp8", "fp8_e4m3"})
_KEYS = ("kv_cache_scheme", "kv_cache_quant_algo")


def check(target: LintTarget) -> Outcome:
    """Needs the checkpoint."""
    if target.value("kv-cache-dtype") not in _SCALED_BY_TENSOR or target.refusal:
        return None
    checkpoint = target.checkpoint
    if checkpoint is None:
        return Lacks(f"whether the checkpoint has KV scales is unknown: {target.model_note}")
    config = checkpoint.config.get("quantization_config")
    inner = config if isinstance(config, Mapping) else {}
    stated = any(inner.get(key) for key in _KEYS)
    scaled = any(tensor.name.endswith((".k_scale", ".v_scale", ".kv_scale")) for tensor in checkpoint.tensors)
    if stated or scaled or "index_topk" in checkpoint.config:
        return None
    return Found(
        "info",
        "the checkpoint has no scales for an FP8 cache, so vLLM takes 1.0 for every layer",
        evidence=f"{target.said('kv-cache-dtype')}; no kv_cache_scheme in config.json and no k_scale tensors",
        cost="quality, by model; no bytes",
        fix="a checkpoint calibrated with llm-compressor, or a comparison on your own prompts",
    )
