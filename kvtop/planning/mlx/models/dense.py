"""Models of plain attention in mlx-lm 0.32.2: one KVCache a layer, or a full and a sliding one by turns.

Source: `models/MODEL_TYPE.py` of mlx-lm 0.32.2 (ModelArgs defaults, Attention, make_cache).
"""

from collections.abc import Callable, Mapping

from kvtop.domain.plan import MalformedModelError, NoExactRuleError
from kvtop.planning.mlx.layout import LayerCache, full, sliding
from kvtop.planning.mlx.models.config_reading import ModelConfig

Caches = tuple[LayerCache, ...]
SLIDING = "sliding_attention"
FULL = "full_attention"

HIDDEN_OVER_HEADS = frozenset(
    {
        *("Klear", "apertus", "bailing_moe", "granite", "granitemoe", "helium", "hunyuan", "internlm2", "internlm3"),
        *("mimo", "minicpm", "mixtral", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "stablelm", "starcoder2"),
        *("cohere", "deepseek"),
    }
)
"""The head is `hidden_size // num_attention_heads`, whatever `head_dim` says."""
HEAD_DIM_OR_HIDDEN = frozenset(
    {
        *("bitnet", "dots1", "ernie4_5", "ernie4_5_moe", "hunyuan_v1_dense", "nemotron", "olmo2", "olmoe"),
        *("minimax", "smollm3", "telechat3"),
    }
)
"""`head_dim` where the file has one, else as above."""
HEAD_DIM = frozenset({"gemma", "gemma2", "glm", "glm4", "glm4_moe", "qwen3", "qwen3_moe", "seed_oss", "solar_open"})
"""`head_dim` is required."""
KV_HEADS_DEFAULT: Mapping[str, int] = {"mixtral": 8, "phimoe": 8, "phi": 32, "cohere": 64, "deepseek": 32}
KV_HEADS_OF_QUERIES = frozenset({"phi3", "internlm2", "internlm3", "olmo2", "olmoe", "qwen2_moe", "smollm3"})
"""Without `num_key_value_heads` there are as many as query heads."""


def _hidden_over_heads(config: ModelConfig) -> int:
    return config.positive("hidden_size") // config.positive("num_attention_heads")


def _head_dim_or_hidden(config: ModelConfig) -> int:
    return config.optional("head_dim") or _hidden_over_heads(config)


def _kv_heads_or_heads(config: ModelConfig) -> int:
    return config.positive("num_key_value_heads", config.positive("num_attention_heads"))


def _uniform(config: ModelConfig) -> Caches:
    name = config.model_type
    if name == "hunyuan" and config.flag("use_cla", default=False):
        raise NoExactRuleError("hunyuan: kvtop has no rule for attention shared across layers")
    if name in HIDDEN_OVER_HEADS:
        head = _hidden_over_heads(config)
    elif name in HEAD_DIM_OR_HIDDEN:
        head = _head_dim_or_hidden(config)
    else:
        head = config.positive("head_dim")
    if name in KV_HEADS_OF_QUERIES and not config.has("num_key_value_heads"):
        heads = config.positive("num_attention_heads")
    else:
        heads = config.positive("num_key_value_heads", KV_HEADS_DEFAULT.get(name))
    return (full(heads, head),) * config.positive("num_hidden_layers")


def _by_type(config: ModelConfig, types: tuple[str, ...], heads: int, head: int, window: int | None = None) -> Caches:
    if len(types) != config.positive("num_hidden_layers"):
        raise NoExactRuleError(
            f"{config.model_type}: layer_types names {len(types)} layers, num_hidden_layers says otherwise"
        )
    if unknown := sorted(set(types) - {SLIDING, FULL}):
        raise NoExactRuleError(f"{config.model_type}: no rule for layers of type {', '.join(unknown)}")
    width = window if window is not None or SLIDING not in types else config.positive("sliding_window")
    return tuple(sliding(heads, head, width or 0) if kind == SLIDING else full(heads, head) for kind in types)


def _llama(config: ModelConfig) -> Caches:
    types = config.words("layer_types") or (FULL,) * config.positive("num_hidden_layers")
    return _by_type(config, types, _kv_heads_or_heads(config), _head_dim_or_hidden(config))


def _pattern(config: ModelConfig, period: int) -> tuple[str, ...]:
    return tuple(
        FULL if index % period == period - 1 else SLIDING for index in range(config.positive("num_hidden_layers"))
    )


def _gemma3(config: ModelConfig) -> Caches:
    types = _pattern(config, config.positive("sliding_window_pattern", 6))
    heads, head = config.positive("num_key_value_heads", 1), config.positive("head_dim", 256)
    return _by_type(config, types, heads, head, config.positive("sliding_window", 512))


def _cohere2(config: ModelConfig) -> Caches:
    types = _pattern(config, config.positive("sliding_window_pattern", 4))
    heads, head = config.positive("num_key_value_heads", 8), config.positive("head_dim", 128)
    return _by_type(config, types, heads, head, config.positive("sliding_window", 4096))


def _olmo3(config: ModelConfig) -> Caches:
    types = config.words("layer_types") or _pattern(config, 4)
    return _by_type(config, types, _kv_heads_or_heads(config), _head_dim_or_hidden(config))


def _gpt_oss(config: ModelConfig) -> Caches:
    types = config.words("layer_types") or (SLIDING, FULL) * (config.positive("num_hidden_layers", 36) // 2)
    heads, head = config.positive("num_key_value_heads", 8), config.positive("head_dim", 64)
    return _by_type(config, types, heads, head, config.positive("sliding_window", 128))


def _exaone4(config: ModelConfig) -> Caches:
    pattern = config.text("sliding_window_pattern") or "G"
    layers = config.positive("num_hidden_layers")
    types = tuple(SLIDING if pattern[index % len(pattern)] == "L" else FULL for index in range(layers))
    return _by_type(config, types, config.positive("num_key_value_heads"), config.positive("head_dim"))


def _required_types(config: ModelConfig) -> tuple[str, ...]:
    types = config.words("layer_types")
    if types is None:
        raise MalformedModelError(f"{config.model_type}: config.json has no 'layer_types'")
    return types


def _exaone_moe(config: ModelConfig) -> Caches:
    heads, head = config.positive("num_key_value_heads"), config.positive("head_dim")
    return _by_type(config, _required_types(config), heads, head)


def _afmoe(config: ModelConfig) -> Caches:
    heads, head = config.positive("num_key_value_heads", 4), config.positive("head_dim", 64)
    return _by_type(config, _required_types(config), heads, head, config.positive("sliding_window", 2048))


def _gemma3n(config: ModelConfig) -> Caches:
    caches = _exaone_moe(config)
    return caches[: len(caches) - config.integer("num_kv_shared_layers")]


def _gemma4(config: ModelConfig) -> Caches:
    layers = config.positive("num_hidden_layers", 35)
    period = config.positive("sliding_window_pattern", 5)
    types = config.words("layer_types") or tuple(
        FULL if index % period == period - 1 else SLIDING for index in range(layers)
    )
    own = layers - config.integer("num_kv_shared_layers", 20)
    heads, head = config.positive("num_key_value_heads", 1), config.positive("head_dim", 256)
    global_head = config.integer("global_head_dim", 512) or head
    global_heads = heads
    if config.flag("attention_k_eq_v", default=False):
        global_heads = config.optional("num_global_key_value_heads") or heads
    if set(types) - {SLIDING, FULL} or len(types) != layers or own < 0:
        raise NoExactRuleError("gemma4: no rule for this layer_types")
    window = config.positive("sliding_window", 512)
    return tuple(
        full(global_heads, global_head) if kind == FULL else sliding(heads, head, window) for kind in types[:own]
    )


RULES: Mapping[str, Callable[[ModelConfig], Caches]] = {
    **dict.fromkeys(HIDDEN_OVER_HEADS | HEAD_DIM_OR_HIDDEN | HEAD_DIM, _uniform),
    "llama": _llama,
    "ministral3": _llama,
    "gemma3_text": _gemma3,
    "gemma3n": _gemma3n,
    "gemma4_text": _gemma4,
    "cohere2": _cohere2,
    "olmo3": _olmo3,
    "gpt_oss": _gpt_oss,
    "exaone4": _exaone4,
    "exaone_moe": _exaone_moe,
    "afmoe": _afmoe,
}
"""By the name of mlx-lm's model file."""
