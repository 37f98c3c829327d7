"""Which caches mlx-lm 0.32.2 makes for a model, from its `config.json`.

Source: mlx-lm 0.32.2 `utils.py` (MODEL_REMAPPING: the model file that reads a `model_type`) and that file's wrappers.
"""

from collections.abc import Mapping
from typing import cast

from kvtop.domain.plan import MalformedModelError, NoExactRuleError
from kvtop.planning.mlx.failures import LATENT_ATTENTION, SOFT_CAPPED_ATTENTION, TILED_ATTENTION
from kvtop.planning.mlx.layout import ModelCaches, full
from kvtop.planning.mlx.models.config_reading import ModelConfig
from kvtop.planning.mlx.models.dense import RULES as DENSE_RULES
from kvtop.planning.mlx.models.further import RULES as FURTHER_RULES
from kvtop.planning.mlx.models.state import RULES as STATE_RULES

REMAPPED: Mapping[str, str] = {
    "mistral": "llama",
    "iquestcoder": "llama",
    "xverse": "llama",
    "llava": "mistral3",
    "falcon_mamba": "mamba",
    "joyai_llm_flash": "deepseek_v3",
    "kimi_k2": "deepseek_v3",
    "qwen2_5_vl": "qwen2_vl",
    "minimax_m2": "minimax",
    "gemma4_unified": "gemma4",
}
"""mlx-lm's names for a model_type that another model file reads."""
TEXT_MODELS: Mapping[str, str] = {
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n",
    "gemma4": "gemma4_text",
    "kimi_k25": "deepseek_v3",
    "kimi_vl": "deepseek_v3",
    "lfm2-vl": "lfm2",
    "llama4": "llama4",
    "mistral3": "llama",
    "pixtral": "llama",
    "qwen2_vl": "qwen2",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
    "qwen3_5": "qwen3_5",
    "qwen3_5_moe": "qwen3_5",
}
"""Model files that read `text_config` with the rules of another."""
TEXT_CONFIG_OPTIONAL = frozenset({"qwen2_vl", "qwen3_vl", "qwen3_5", "qwen3_5_moe"})
TEXT_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "gemma3": {"num_attention_heads": 8, "num_key_value_heads": 4},
    "gemma4": {"num_attention_heads": 8, "num_key_value_heads": 1},
    "pixtral": {"num_attention_heads": 32},
}
"""What a wrapper fills in where `text_config` is silent."""
FIELD_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "gemma3_text": {"num_hidden_layers": 26},
    "gpt_oss": {"num_hidden_layers": 36},
    "qwen": {"num_hidden_layers": 24, "num_attention_heads": 16, "hidden_size": 2048},
    "gemma4_text": {"num_hidden_layers": 35},
    "cohere2": {"num_hidden_layers": 32},
    "afmoe": {"num_hidden_layers": 32},
    "qwen3_5": {"num_hidden_layers": 32, "num_key_value_heads": 8, "num_attention_heads": 32, "hidden_size": 4096},
    "deepseek_v2": {"num_hidden_layers": 30, "num_attention_heads": 32},
    "deepseek_v3": {"num_hidden_layers": 30},
    "deepseek_v32": {"num_hidden_layers": 30},
}
"""ModelArgs defaults that several rules would otherwise repeat."""
AFTER_CONVERSION: Mapping[str, str] = {
    "deepseek_v3": LATENT_ATTENTION,
    "glm4_moe_lite": LATENT_ATTENTION,
    "mistral4": LATENT_ATTENTION,
    "kimi_linear": LATENT_ATTENTION,
    "plamo": TILED_ATTENTION,
    "phi": "AttributeError: 'list' object has no attribute 'dtype'",
    "stablelm": "AttributeError: 'list' object has no attribute 'astype'",
    "gemma2": SOFT_CAPPED_ATTENTION,
}
PREFILL_AFTER_CONVERSION: Mapping[str, str] = {
    "mistral4": "TypeError: unsupported operand type(s) for @: 'list' and 'array'",
}
WITHOUT_WINDOWS = frozenset({"llava", "mistral3", "pixtral"})
"""These wrappers define no `make_cache`, so mlx-lm keeps every row even of the layers that look at a window."""


def text_config(config: Mapping[str, object]) -> tuple[str, Mapping[str, object]]:
    """The model file's name and the level of `config.json` that it reads.

    Raises:
        NoExactRuleError: no `model_type`, or no `text_config` where one is needed.
    """
    named = config.get("model_type")
    if not isinstance(named, str):
        raise MalformedModelError("config.json names no model_type")
    model = REMAPPED.get(named, named)
    if model not in TEXT_MODELS:
        return model, config
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        if model not in TEXT_CONFIG_OPTIONAL:
            raise MalformedModelError(f"{named}: config.json has no text_config")
        return TEXT_MODELS[model], config
    level = cast("Mapping[str, object]", inner)
    reader = TEXT_MODELS[model]
    if model == "mistral3" and level.get("model_type") in ("ministral3", "mistral4"):
        reader = str(level["model_type"])
    return reader, {**TEXT_DEFAULTS.get(model, {}), **level}


def caches_of(config: Mapping[str, object]) -> ModelCaches:
    """The caches of one sequence of that model.

    Raises:
        NoExactRuleError: kvtop has no rule for it, or its `config.json` lacks what the rule needs.
    """
    reader, level = text_config(config)
    rule = DENSE_RULES.get(reader) or STATE_RULES.get(reader) or FURTHER_RULES.get(reader)
    if rule is None:
        raise NoExactRuleError(f"kvtop has no rule for the caches of {reader} in mlx-lm 0.32.2")
    caches = rule(ModelConfig(reader, {**FIELD_DEFAULTS.get(reader, {}), **level}))
    if config.get("model_type") in WITHOUT_WINDOWS:
        caches = tuple(full(cache.heads, cache.key_dim, cache.value_dim) for cache in caches)
    return ModelCaches(reader, caches, AFTER_CONVERSION.get(reader), PREFILL_AFTER_CONVERSION.get(reader))
