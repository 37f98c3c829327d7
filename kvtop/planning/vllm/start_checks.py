"""What vLLM refuses before it builds a layer, in its own words.

Source: vLLM 0.32.0, `config/model.py` (`verify_with_parallel_config`, `_check_valid_dtype`), `config/vllm.py`,
`config/parallel.py`, `layers/mamba/mamba_mixer2.py`, `layers/quantization/turboquant/config.py`.
"""

from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.dtypes import NVFP4, TURBOQUANT_BITS
from kvtop.planning.vllm.models.architectures import Architecture
from kvtop.planning.vllm.models.cached_layers import attention_heads, layer_count, partition, total_kv_heads
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.models.model_facts import quantisation
from kvtop.planning.vllm.options.settings import ServeSettings
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.rules.rules import Rules

_NO_HALF = ("gemma2", "gemma3", "gemma3_text", "glm4")
"""Model types that overflow in float16 (`_FLOAT16_NOT_SUPPORTED_MODELS`)."""
_LATENT = "'fp8' or 'auto'"
"""What versions without packed NVFP4 offer a model with latent attention."""


def refuse_dtype(view: ConfigView, dtype: str) -> None:
    """Models that vLLM does not run in this dtype.

    Raises:
        RefusedError: float16 where the model or its quantisation cannot.
    """
    if dtype != "float16":
        return
    for model_type in (view.root.get("model_type"), view.word("model_type")):
        if model_type in _NO_HALF:
            raise StartRefusedError(
                f"The model type {model_type!r} does not support float16. Reason: Numerical instability. Please use "
                "bfloat16 or float32 instead."
            )
    if view.word("model_type") == "gpt_oss" and quantisation(view).get("quant_method") == "mxfp4":
        raise StartRefusedError(
            "torch.float16 is not supported for quantization method gpt_oss_mxfp4. Supported dtypes: [torch.bfloat16]"
        )


def refuse_cache_dtype(view: ConfigView, dtype: str, rules: Rules, *, use_mla: bool, is_hybrid: bool) -> None:
    """What vLLM refuses before it asks any backend.

    Raises:
        RefusedError: NVFP4 with latent attention; TurboQuant where the configuration names no attention layers.
    """
    if use_mla and dtype in NVFP4:
        others = "'fp8', 'auto', or 'nvfp4_ds_mla' with a sparse MLA backend" if rules.names_packed_latent else _LATENT
        raise StartRefusedError(
            "nvfp4 KV cache is not supported with MLA (Multi-head Latent Attention) backends. Please use a different "
            f"--kv-cache-dtype (e.g., {others}) for MLA models such as DeepSeek."
        )
    if not is_hybrid or dtype not in TURBOQUANT_BITS:
        return
    # Transformers gives every hybrid model layer types; "hybrid" layers do not count as attention there.
    types = view.words("layer_types") or view.words("layers_block_type") or ()
    if view.word("model_type") in ("falcon_h1", "zamba2") or (
        types and not {"attention", "full_attention"} & set(types)
    ):
        raise StartRefusedError(
            "TurboQuant KV cache requires identifiable full-attention layers, but none were found in the hybrid model "
            "config."
        )


def refuse_state_block(block_tokens: int, batch_tokens: int, rules: Rules) -> None:
    """What vLLM refuses of a model that keeps recurrent state at block boundaries.

    Raises:
        RefusedError: a block longer than a batch, in versions that schedule whole blocks.
    """
    if rules.limits_state_block and block_tokens > batch_tokens:
        raise StartRefusedError(
            f"In Mamba cache align mode, block_size ({block_tokens}) must be <= max_num_batched_tokens "
            f"({batch_tokens})."
        )


def refuse_e5m2(view: ConfigView, dtype: str) -> None:
    """What the attention layers refuse once their backend is chosen.

    Raises:
        RefusedError: E5M2 with a checkpoint that carries FP8 KV scales.
    """
    method = str(quantisation(view).get("quant_method", "")).lower().replace("_", "-")
    scaled = quantisation(view).get("kv_cache_scheme") is not None
    if dtype == "fp8_e5m2" and (method in ("fp8", "modelopt") or (method == "compressed-tensors" and scaled)):
        raise StartRefusedError("fp8_e5m2 kv-cache is not supported with fp8 checkpoints.")


def refuse_parallel(view: ConfigView, settings: ServeSettings, architecture: Architecture, *, use_mla: bool) -> None:
    """Splits that vLLM refuses before it builds a layer (`verify_with_parallel_config`).

    Raises:
        RefusedError: heads and ranks do not fit, in vLLM's words.
        NoExactRuleError: a split that kvtop has no rule for.
    """
    tp_size, dcp_size = settings.tp_size, settings.dcp_size
    if tp_size % dcp_size:
        raise StartRefusedError(f"tp_size={tp_size} must be divisible by dcp_size={dcp_size}.")
    if settings.pp_size > 1 and not architecture.pipeline:
        raise StartRefusedError(
            "Pipeline parallelism is not supported for this model. Supported models implement the `SupportsPP` "
            "interface."
        )
    if settings.pp_size > 1:
        _refuse_shared_across_stages(view, partition(layer_count(view), settings.pp_size, settings.stage_layers))
    if architecture.attention_free:
        if dcp_size > 1:
            raise StartRefusedError("ZeroDivisionError: integer division or modulo by zero")
        return
    if settings.skip_layers and view.word("model_type") == "longcat_flash":
        raise StartRefusedError("layer name model.layers.0.self_attn.0.attn should only contain one integer")
    heads = attention_heads(view)
    if heads % tp_size:
        raise StartRefusedError(
            f"Total number of attention heads ({heads}) must be divisible by tensor parallel size ({tp_size})."
        )
    if settings.pp_size > layer_count(view):
        raise StartRefusedError(f"{settings.pp_size} pipeline stages for {layer_count(view)} layers")
    if dcp_size > 1 and not use_mla:
        _refuse_dcp(heads, total_kv_heads(view), tp_size, dcp_size)


def _refuse_shared_across_stages(view: ConfigView, bounds: tuple[tuple[int, int], ...]) -> None:
    """Layers that reuse a cache must live on the stage of the layer that keeps it (`validate_kv_sharing_target`)."""
    shared, types = view.whole("num_kv_shared_layers"), view.words("layer_types")
    if not shared:
        return
    if types is None:
        raise NoExactRuleError("layers that share a cache over pipeline stages, without layer_types")
    layers = layer_count(view)
    for index in range(layers - shared, layers):
        target = max(other for other in range(layers - shared) if types[other] == types[index])
        if not any(start <= target and index < stop for start, stop in bounds if start <= index):
            raise StartRefusedError(
                f"Specified KV sharing target layer for model.layers.{index}.self_attn.attn is not valid: target layer "
                f"model.layers.{target}.self_attn.attn is not a valid Attention layer in the model."
            )


def _refuse_dcp(heads: int, kv_heads: int, tp_size: int, dcp_size: int) -> None:
    if tp_size <= kv_heads:
        raise StartRefusedError(
            f"Decode context parallelism for GQA/MQA requires `--tensor-parallel-size` ({tp_size}) to be greater than "
            f"the model's total number of KV heads ({kv_heads}). Increase `--tensor-parallel-size` or set "
            "`--decode-context-parallel-size 1`."
        )
    most = tp_size // kv_heads
    if dcp_size > most:
        raise StartRefusedError(
            f"`--decode-context-parallel-size` ({dcp_size}) exceeds the maximum supported value ({most}) for "
            f"`--tensor-parallel-size` ({tp_size}) and {kv_heads} model KV heads."
        )
    group = heads // kv_heads
    if group % dcp_size:
        raise StartRefusedError(
            f"The model's number of query heads per KV head ({group}) must be divisible by "
            f"`--decode-context-parallel-size` ({dcp_size}) for GQA/MQA."
        )
