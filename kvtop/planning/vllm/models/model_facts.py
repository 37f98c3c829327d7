"""What vLLM's ModelConfig concludes from config.json: dtype, length, cache type, and what it refuses.

Source: vLLM 0.32.0, `config/model.py`, `transformers_utils/model_arch_config_convertor.py`, `utils/torch_utils.py`.
"""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.domain.plan import MalformedModelError
from kvtop.planning.vllm.dtypes import ELEMENT_BYTES
from kvtop.planning.vllm.models.cached_layers import head_size
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.options.settings import ServeSettings
from kvtop.planning.vllm.refusals import StartRefusedError

_LONGEST_TOKENS = 2**31
"""vLLM keeps lengths in 32 bits."""
_LENGTH_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
_ALREADY_SCALED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "default", "mrope")


def model_dtype(view: ConfigView, asked: str, capability: tuple[int, int]) -> str:
    """The dtype that the model computes in; float32 checkpoints are run in 16 bits."""
    if asked == "half":
        return "float16"
    if asked == "float":
        return "float32"
    if asked != "auto":
        return asked
    for source in (view.root, view.values):
        for key in ("dtype", "torch_dtype"):
            value = source.get(key)
            if isinstance(value, str) and value.removeprefix("torch.") in ELEMENT_BYTES:
                stated = value.removeprefix("torch.")
                if stated not in ("float32", "float", "float64"):
                    return stated if capability >= (8, 0) or stated != "bfloat16" else "float16"
    return "bfloat16" if capability >= (8, 0) else "float16"


def quantisation(view: ConfigView) -> Mapping[str, object]:
    """The checkpoint's quantisation, wherever it says so; empty where it is not quantised."""
    for source in (view.root, view.values):
        for key in ("quantization_config", "compression_config"):
            value = source.get(key)
            if isinstance(value, Mapping):
                return value
    return {}


def cache_dtype(view: ConfigView, asked: str, architecture: str, capability: tuple[int, int]) -> str:
    """`--kv-cache-dtype auto` resolved from the checkpoint; an explicit flag wins (`resolve_kv_cache_dtype_string`)."""
    if asked == "bfloat16" and architecture == "DeepseekV32ForCausalLM":
        return "auto"
    if asked != "auto":
        return asked
    config = quantisation(view)
    method = str(config.get("quant_method", "")).lower().replace("_", "-")
    producer = config.get("producer")
    is_named = isinstance(producer, Mapping) and producer.get("name") == "modelopt"
    if method.startswith("modelopt") or (not method and is_named):
        return _modelopt(config)
    if method == "compressed-tensors" and config.get("kv_cache_scheme") is not None:
        return "fp8"
    if architecture == "GlmMoeDsaForCausalLM" and capability[0] == 10:
        return "fp8_e4m3"
    return "auto"


def _modelopt(config: Mapping[str, object]) -> str:
    inner = config.get("quantization")
    inner = inner if isinstance(inner, Mapping) else config
    algorithm = (
        inner.get("kv_cache_scheme")
        or config.get("kv_cache_scheme")
        or inner.get("kv_cache_quant_algo")
        or config.get("kv_cache_quant_algo")
    )
    if isinstance(algorithm, Mapping):
        bits = algorithm.get("num_bits")
        if algorithm.get("type") == "float" and bits == 8 and algorithm.get("dynamic") is False:
            return "fp8_e4m3"
        return "nvfp4" if algorithm.get("type") == "float" and bits == 4 else "auto"
    return {"fp8": "fp8_e4m3", "nvfp4": "nvfp4"}.get(str(algorithm).lower(), "auto")


def per_head_scales(view: ConfigView) -> bool:
    """Whether the checkpoint carries one KV scale per attention head (compressed-tensors "attn_head")."""
    scheme = quantisation(view).get("kv_cache_scheme")
    return isinstance(scheme, Mapping) and scheme.get("strategy") == "attn_head"


def without_windows(view: ConfigView) -> ConfigView:
    """The model under `--disable-sliding-window`."""
    return replace(view, values={**view.values, "sliding_window": None})


def derived_length(view: ConfigView) -> tuple[float, str | None]:
    """The longest context that the configuration allows, with the key that says so."""
    longest, said = float("inf"), None
    for key in _LENGTH_KEYS:
        value = view.whole(key)
        if value is not None and value < longest:
            longest, said = value, key
    stated = view.whole("model_max_length")
    if stated is not None:
        longest, said = stated, "model_max_length"
    return longest * _rope_factor(view), said


def _rope_factor(view: ConfigView) -> float:
    if "gemma3" in str(view.root.get("model_type", "")):
        return 1.0
    rope = view.part("rope_parameters") or view.part("rope_scaling")
    kind = rope.get("rope_type", rope.get("type", "default"))
    factor = rope.get("factor")
    if isinstance(factor, int | float) and kind not in _ALREADY_SCALED:
        if not 0 < factor < _LONGEST_TOKENS:
            raise MalformedModelError(f"config.json: the factor of its rope scaling is {factor:.6g}")
        return float(factor)
    return 1.0


def model_length(view: ConfigView, settings: ServeSettings) -> int:
    """`max_model_len`: as asked, or the configuration's own.

    Raises:
        RefusedError: more is asked than the configuration allows, in vLLM's words.
    """
    derived, key = derived_length(view)
    window = view.whole("sliding_window")
    if not settings.sliding_window and window is not None and window < derived:
        derived, key = window, "sliding_window"
    asked = settings.max_model_len
    if asked is None:
        if derived == float("inf"):
            if settings.fit_length:
                raise StartRefusedError(
                    "max_model_len must be a positive integer, got int: -1. Example: max_model_len=2048"
                )
            return 2048
        rope = view.part("rope_scaling")
        original = view.whole("original_max_position_embeddings")
        if "longrope" in (rope.get("rope_type"), rope.get("type")) and original is not None:
            return original
        if not 1 <= derived < _LONGEST_TOKENS:
            raise MalformedModelError(f"by config.json ({key}) the longest context is {derived:g} tokens")
        return int(derived)
    if asked > derived and not settings.allows_long:
        stated = view.whole("model_max_length")
        if stated is None or asked > stated:
            raise StartRefusedError(
                f"User-specified max_model_len ({asked}) is greater than the derived max_model_len ({key}={derived} "
                f"or model_max_length={stated} in model's config.json). To allow overriding this maximum, set the env "
                "var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1. VLLM_ALLOW_LONG_MAX_MODEL_LEN must be used with extreme caution. "
                "If the model uses relative position encoding (RoPE), positions exceeding derived_max_model_len lead "
                "to nan. If the model uses absolute position encoding, positions exceeding derived_max_model_len will "
                "cause a CUDA array out-of-bounds error."
            )
    return asked


def rank_head_size(view: ConfigView, *, use_mla: bool) -> int:
    """Head size of the model as a whole (`get_head_size`)."""
    if use_mla:
        return view.required("kv_lora_rank") + (view.whole("qk_rope_head_dim") or 0)
    # Heads of several sizes (Gemma 4): vLLM takes the largest.
    return view.whole("attention_head_dim") or max(head_size(view), view.whole("global_head_dim") or 0)
