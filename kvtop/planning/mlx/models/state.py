"""Models with latent attention, constant state or several caches a layer in mlx-lm 0.32.2.

Source: `models/MODEL_TYPE.py` of mlx-lm 0.32.2 (ModelArgs defaults, mixers, make_cache).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from kvtop.domain.plan import MalformedModelError, NoExactRuleError
from kvtop.planning.mlx.layout import CacheKind, LayerCache, full, recurrent
from kvtop.planning.mlx.models.config_reading import ModelConfig

Caches = tuple[LayerCache, ...]


def _latent(config: ModelConfig) -> Caches:
    """One head whose keys are the latent and whose values are the rotary part."""
    row = full(1, config.positive("kv_lora_rank", 512), config.positive("qk_rope_head_dim", 64))
    return (row,) * config.positive("num_hidden_layers")


def _unfolded_latent(config: ModelConfig) -> Caches:
    """DeepSeek V2: keys and values of every query head, as computed from the latent."""
    keys = config.positive("qk_nope_head_dim", 128) + config.positive("qk_rope_head_dim", 64)
    row = full(config.positive("num_attention_heads"), keys, config.positive("v_head_dim", 128))
    return (row,) * config.positive("num_hidden_layers")


def _indexed_latent(config: ModelConfig) -> Caches:
    """DeepSeek V3.2: the latent, and an indexer that keeps its keys twice."""
    latent = full(1, config.positive("kv_lora_rank", 512), config.positive("qk_rope_head_dim", 64), nested=True)
    indexer = full(1, config.positive("index_head_dim", 128), nested=True)
    return (latent, indexer) * config.positive("num_hidden_layers")


def _longcat(config: ModelConfig) -> Caches:
    row = full(1, config.positive("kv_lora_rank"), config.positive("qk_rope_head_dim"), nested=True)
    return (row, row) * config.positive("num_layers")


def _gated_delta(config: ModelConfig) -> LayerCache:
    """Qwen's linear attention: a convolution's tail in the model's type, a matrix a value head in float32."""
    key_heads, value_heads = config.positive("linear_num_key_heads", 16), config.positive("linear_num_value_heads", 64)
    key_dim, value_dim = config.positive("linear_key_head_dim", 192), config.positive("linear_value_head_dim", 128)
    width = 2 * key_heads * key_dim + value_heads * value_dim
    tail = config.positive("linear_conv_kernel_dim", 4) - 1
    return recurrent(tail * width, value_heads * value_dim * key_dim)


def _qwen3_next(config: ModelConfig) -> Caches:
    head = config.optional("head_dim")
    if head is None:
        head = config.positive("hidden_size") // config.positive("num_attention_heads")
    attention = full(config.positive("num_key_value_heads"), head)
    period = config.positive("full_attention_interval", 4)
    linear = _gated_delta(config)
    layers = config.positive("num_hidden_layers")
    return tuple(linear if (index + 1) % period else attention for index in range(layers))


def _mamba2_state(
    heads: int, head: int, state: int, groups: int, kernel: int, *, width: int | None = None
) -> LayerCache:
    inner = heads * head if width is None else width
    return recurrent((kernel - 1) * (inner + 2 * groups * state), heads * head * state)


def _mamba2(config: ModelConfig) -> Caches:
    state = _mamba2_state(
        config.positive("num_heads"),
        config.positive("head_dim"),
        config.optional("ssm_state_size") or config.positive("state_size"),
        config.positive("n_groups"),
        config.positive("conv_kernel"),
    )
    return (state,) * config.positive("num_hidden_layers")


def _mamba(config: ModelConfig) -> Caches:
    inner = config.positive("intermediate_size")
    values = inner * (config.positive("conv_kernel") - 1 + config.positive("state_size"))
    return (recurrent(values),) * config.positive("num_hidden_layers")


def _nemotron_h(config: ModelConfig) -> Caches:
    letters = {"full_attention": "*", "attention": "*", "linear_attention": "M", "mamba": "M", "conv": "M"}
    letters |= {"moe": "E", "mlp": "-"}
    pattern = config.words("hybrid_override_pattern")
    if pattern is None:
        named = config.words("layers_block_type") or config.words("layer_types") or ()
        pattern = tuple(letters.get(word, "?") for word in named)
    if not pattern or set(pattern) - set("*ME-"):
        raise NoExactRuleError("nemotron_h: no rule for this stack of layers")
    head = config.optional("head_dim")
    if head is None:
        head = config.positive("hidden_size") // config.positive("num_attention_heads")
    attention = full(config.positive("num_key_value_heads"), head)
    state = _mamba2_state(
        config.positive("mamba_num_heads"),
        config.positive("mamba_head_dim"),
        config.positive("ssm_state_size"),
        config.positive("n_groups"),
        config.positive("conv_kernel"),
    )
    return tuple(state if letter == "M" else attention for letter in pattern if letter in "M*")


def _falcon_h1(config: ModelConfig) -> Caches:
    state = _mamba2_state(
        config.positive("mamba_n_heads", 24),
        config.positive("mamba_d_head", 64),
        config.positive("mamba_d_state", 128),
        config.positive("mamba_n_groups", 1),
        config.positive("mamba_d_conv", 4),
        width=config.positive("mamba_d_ssm", 1536),
    )
    attention = full(config.positive("num_key_value_heads", 2), config.positive("head_dim", 64), nested=True)
    return (replace(state, nested=True), attention) * config.positive("num_hidden_layers", 36)


def _granite_hybrid(config: ModelConfig) -> Caches:
    types = config.words("layer_types")
    if not types or set(types) - {"mamba", "attention"}:
        raise NoExactRuleError("granitemoehybrid: no rule for this layer_types")
    head = config.positive("hidden_size") // config.positive("num_attention_heads")
    attention = full(config.positive("num_key_value_heads"), head)
    if "mamba" not in types:
        return (attention,) * len(types)
    state = _mamba2_state(
        config.positive("mamba_n_heads"),
        config.positive("mamba_d_head"),
        config.positive("mamba_d_state"),
        config.positive("mamba_n_groups"),
        config.positive("mamba_d_conv"),
    )
    return tuple(state if kind == "mamba" else attention for kind in types)


def _jamba(config: ModelConfig) -> Caches:
    layers = config.positive("num_hidden_layers")
    period, first = config.positive("attn_layer_period"), config.integer("attn_layer_offset")
    types = config.words("layers_block_type") or tuple(
        "attention" if index % period == first else "mamba" for index in range(layers)
    )
    hidden = config.positive("hidden_size")
    attention = full(config.positive("num_key_value_heads"), hidden // config.positive("num_attention_heads"))
    inner = config.positive("mamba_expand") * hidden
    state = recurrent(inner * (config.positive("mamba_d_conv") - 1 + config.positive("mamba_d_state")))
    return tuple(attention if kind == "attention" else state for kind in types)


def _lfm2(config: ModelConfig) -> Caches:
    hidden, layers = config.positive("hidden_size"), config.positive("num_hidden_layers")
    attended = config.integers("full_attn_idxs")
    if attended is None:
        types = config.words("layer_types") or ()
        if len(types) != layers:
            raise MalformedModelError(f"{config.model_type}: config.json does not say which layers attend")
        attended = tuple(index for index, kind in enumerate(types) if kind == "full_attention")
    heads = config.positive("num_attention_heads")
    attention = full(config.positive("num_key_value_heads", heads), hidden // heads)
    tail = recurrent((config.positive("conv_L_cache") - 1) * hidden)
    return tuple(attention if index in attended else tail for index in range(layers))


def _llama4(config: ModelConfig) -> Caches:
    head = config.optional("head_dim")
    if not head:
        head = config.positive("hidden_size") // config.positive("num_attention_heads")
    heads, window = config.positive("num_key_value_heads"), config.positive("attention_chunk_size")
    chunked = LayerCache(CacheKind.CHUNKED, heads, head, head, window)
    whole = full(heads, head)
    return tuple(chunked if (index + 1) % 4 else whole for index in range(config.positive("num_hidden_layers")))


RULES: Mapping[str, Callable[[ModelConfig], Caches]] = {
    **dict.fromkeys(("deepseek_v3", "glm4_moe_lite", "mistral4"), _latent),
    "deepseek_v2": _unfolded_latent,
    **dict.fromkeys(("deepseek_v32", "glm_moe_dsa"), _indexed_latent),
    "longcat_flash": _longcat,
    **dict.fromkeys(("qwen3_next", "qwen3_5"), _qwen3_next),
    "mamba": _mamba,
    "mamba2": _mamba2,
    "nemotron_h": _nemotron_h,
    "falcon_h1": _falcon_h1,
    "granitemoehybrid": _granite_hybrid,
    "jamba": _jamba,
    **dict.fromkeys(("lfm2", "lfm2_moe"), _lfm2),
    "llama4": _llama4,
}
"""By the name of mlx-lm's model file."""
