"""Older and rarer models in mlx-lm 0.32.2, each with names or shapes of its own.

Source: `models/MODEL_TYPE.py` of mlx-lm 0.32.2 (ModelArgs defaults, Attention, make_cache).
"""

from collections.abc import Callable, Mapping, Sequence

from kvtop.domain.plan import MalformedModelError, NoExactRuleError
from kvtop.planning.guards import LAYERS_PLANNED
from kvtop.planning.mlx.layout import LayerCache, full, recurrent, sliding
from kvtop.planning.mlx.models.config_reading import ModelConfig

Caches = tuple[LayerCache, ...]


def _gpt2(config: ModelConfig) -> Caches:
    heads = config.positive("n_head")
    return (full(heads, config.positive("n_embd") // heads),) * config.positive("n_layer")


def _gptj(config: ModelConfig) -> Caches:
    heads = config.positive("n_head", 16)
    return (full(heads, config.positive("n_embd", 4096) // heads),) * config.positive("n_layer", 28)


def _gpt_bigcode(config: ModelConfig) -> Caches:
    """One head of keys and values for all queries, unless `multi_query` is off."""
    queries = config.positive("n_head")
    heads = 1 if config.flag("multi_query", default=True) else queries
    return (full(heads, config.positive("n_embd") // queries),) * config.positive("n_layer")


def _every_head(config: ModelConfig) -> Caches:
    """GPT-NeoX and the first Qwen keep keys and values of every query head."""
    heads = config.positive("num_attention_heads")
    return (full(heads, config.positive("hidden_size") // heads),) * config.positive("num_hidden_layers")


def _exaone(config: ModelConfig) -> Caches:
    queries, hidden = config.positive("num_attention_heads"), config.positive("hidden_size")
    head = config.optional("head_dim") or hidden // queries
    if head * queries != hidden:
        raise NoExactRuleError("exaone: mlx-lm cannot run heads that do not make up hidden_size")
    return (full(config.positive("num_key_value_heads"), head),) * config.positive("num_layers")


def _minicpm3(config: ModelConfig) -> Caches:
    """Latent projections, but a cache of every head's unfolded keys and values."""
    heads = config.positive("num_attention_heads")
    keys = config.positive("qk_nope_head_dim") + config.positive("qk_rope_head_dim")
    return (full(heads, keys, config.positive("hidden_size") // heads),) * config.positive("num_hidden_layers")


def _youtu(config: ModelConfig) -> Caches:
    keys = config.positive("qk_nope_head_dim", 128) + config.positive("qk_rope_head_dim", 64)
    row = full(config.positive("num_attention_heads", 16), keys, config.positive("v_head_dim", 128))
    return (row,) * config.positive("num_hidden_layers", 32)


def _plamo(config: ModelConfig) -> Caches:
    queries = config.positive("num_attention_heads")
    shared = config.positive("n_shared_head", 8)
    heads = -(-queries // shared)
    return (full(heads, config.positive("hidden_size") // queries),) * config.positive("num_hidden_layers")


def _nanochat(config: ModelConfig) -> Caches:
    head = config.positive("hidden_size", 1280) // config.positive("num_attention_heads", 10)
    return (full(config.positive("num_key_value_heads", 10), head),) * config.positive("num_hidden_layers", 20)


def _dbrx(config: ModelConfig) -> Caches:
    heads = config.part("attn_config").positive("kv_n_heads")
    head = config.positive("d_model") // config.positive("n_heads")
    return (full(heads, head),) * config.positive("n_layers")


def _openelm(config: ModelConfig) -> Caches:
    """Each layer has a number of heads of its own."""
    head, heads = config.positive("head_dim"), config.integers("num_kv_heads") or ()
    if len(heads) != config.positive("num_transformer_layers"):
        raise MalformedModelError("openelm: num_kv_heads does not name every layer")
    return tuple(full(count, head) for count in heads)


def _mellum(config: ModelConfig) -> Caches:
    heads, head = config.positive("num_key_value_heads"), config.positive("head_dim")
    types, window = config.words("layer_types"), config.positive("sliding_window")
    if types is None or len(types) != config.positive("num_hidden_layers"):
        raise MalformedModelError("mellum: layer_types does not name every layer")
    return tuple(full(heads, head) if kind == "full_attention" else sliding(heads, head, window) for kind in types)


def _llama4_text(config: ModelConfig) -> Caches:
    """Read on its own, Llama 4 keeps every row: this class knows no chunks."""
    row = full(config.positive("num_key_value_heads"), config.positive("head_dim"))
    return (row,) * config.positive("num_hidden_layers")


def _nanbeige(config: ModelConfig) -> Caches:
    """A model that runs through its layers several times has a cache for each time."""
    for name in ("enable_double_loop_split", "loop_share_kv", "enable_depth_attention"):
        if config.flag(name, default=False):
            raise NoExactRuleError(f"nanbeige: mlx-lm does not support {name}")
    if config.has("loop_loss_weights"):
        raise NoExactRuleError("nanbeige: kvtop has no rule for loop_loss_weights")
    head = config.optional("head_dim") or config.positive("hidden_size") // config.positive("num_attention_heads")
    row = full(config.positive("num_key_value_heads"), head)
    caches = config.positive("num_hidden_layers") * config.positive("num_loops", 1)
    if caches > LAYERS_PLANNED:
        raise MalformedModelError(f"nanbeige: {caches} caches are more than any model has")
    return (row,) * caches


def _nemotron_nas(config: ModelConfig) -> Caches:
    """Layers found by search: some have no attention, the others groups of queries of several sizes."""
    queries = config.positive("num_attention_heads", 64)
    head = config.positive("hidden_size", 8192) // queries
    blocks = config.parts("block_configs")
    if len(blocks) != config.positive("num_hidden_layers", 80):
        raise MalformedModelError("nemotron-nas: block_configs does not name every layer")
    attentions = [block.part("attention") for block in blocks]
    return tuple(
        full(queries // attention.positive("n_heads_in_group"), head)
        for attention in attentions
        if not (attention.flag("no_op", default=False) or attention.flag("replace_with_linear", default=False))
    )


def _olmo_hybrid(config: ModelConfig) -> Caches:
    layers = config.positive("num_hidden_layers")
    types: Sequence[str] = config.words("layer_types") or tuple(
        "full_attention" if index % 4 == 3 else "linear_attention" for index in range(layers)
    )
    queries = config.positive("num_attention_heads")
    head = config.optional("head_dim") or config.positive("hidden_size") // queries
    attention = full(config.positive("num_key_value_heads", queries), head)
    key_heads, value_heads = config.positive("linear_num_key_heads"), config.positive("linear_num_value_heads")
    key_dim, value_dim = config.positive("linear_key_head_dim"), config.positive("linear_value_head_dim")
    tail = config.positive("linear_conv_kernel_dim") - 1
    width = 2 * key_heads * key_dim + value_heads * value_dim
    linear = recurrent(tail * width, value_heads * value_dim * key_dim)
    return tuple(linear if kind == "linear_attention" else attention for kind in types)


def _kimi_linear(config: ModelConfig) -> Caches:
    """Delta attention on the layers that `kda_layers` names, counted from one; latent attention on the others."""
    linear = config.part("linear_attn_config")
    heads, head = linear.positive("num_heads"), linear.positive("head_dim")
    tail = linear.positive("short_conv_kernel_size") - 1
    state = recurrent(3 * tail * heads * head, heads * head * head)
    latent = full(1, config.positive("kv_lora_rank"), config.positive("qk_rope_head_dim"))
    named = set(linear.integers("kda_layers") or ())
    return tuple(state if index + 1 in named else latent for index in range(config.positive("num_hidden_layers")))


RULES: Mapping[str, Callable[[ModelConfig], Caches]] = {
    "gpt2": _gpt2,
    "gptj": _gptj,
    "gpt_bigcode": _gpt_bigcode,
    **dict.fromkeys(("gpt_neox", "qwen"), _every_head),
    "exaone": _exaone,
    "minicpm3": _minicpm3,
    "youtu_llm": _youtu,
    "plamo": _plamo,
    "nanochat": _nanochat,
    "dbrx": _dbrx,
    "openelm": _openelm,
    "mellum": _mellum,
    "llama4_text": _llama4_text,
    "nanbeige": _nanbeige,
    "nemotron-nas": _nemotron_nas,
    "olmo_hybrid": _olmo_hybrid,
    "kimi_linear": _kimi_linear,
}
"""By the name of mlx-lm's model file."""
