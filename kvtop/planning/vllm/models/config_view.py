"""A checked look at config.json, with the defaults that Transformers' configuration classes fill in.

A real config.json leaves out what equals the default of its class, so the rules cannot work without these numbers.
Source of the defaults: Transformers 5.x configuration classes, as vLLM 0.32.0 reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.plan import MalformedModelError

_GDN = {
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "full_attention_interval": 4,
}
_MLA = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
_DSA = {"index_head_dim": 128, "index_topk": 2048}
_MAMBA2 = {"mamba_n_heads": 128, "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2}

CLASS_DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "afmoe": {"head_dim": 128, "sliding_window": 1024, "global_attn_every_n_layers": 4},
    "arcee": {},
    "bamba": {**_MAMBA2, "mamba_d_head": 64, "num_key_value_heads": 8},
    "cohere2": {"head_dim": 128, "sliding_window": 4096, "sliding_window_pattern": 4},
    "deepseek_v2": _MLA,
    "deepseek_v3": _MLA,
    "deepseek_v32": {**_MLA, **_DSA},
    "ernie4_5": {"head_dim": 128, "num_key_value_heads": 2},
    "ernie4_5_moe": {"num_key_value_heads": 4},
    "exaone4": {"sliding_window": 4096},
    "falcon": {"max_position_embeddings": 2048},
    "falcon_h1": {**_MAMBA2, "mamba_d_head": 8, "num_key_value_heads": 8},
    "falcon_mamba": {"conv_kernel": 4, "state_size": 16, "expand": 2},
    "gemma": {"head_dim": 256},
    "gemma2": {"head_dim": 256, "sliding_window": 4096, "num_key_value_heads": 4},
    "gemma3_text": {
        "head_dim": 256, "sliding_window": 4096, "num_key_value_heads": 4, "num_attention_heads": 8,
        "hidden_size": 2304, "num_hidden_layers": 26, "sliding_window_pattern": 6, "max_position_embeddings": 131072,
    },
    "gemma3n_text": {
        "head_dim": 256, "sliding_window": 512, "num_key_value_heads": 2, "num_attention_heads": 8,
        "num_kv_shared_layers": 15, "num_hidden_layers": 35, "hidden_size": 2048, "max_position_embeddings": 32768,
    },
    "gemma4_text": {
        "head_dim": 256, "global_head_dim": 512, "sliding_window": 512, "num_key_value_heads": 4,
        "num_attention_heads": 8, "num_hidden_layers": 30, "hidden_size": 2304, "max_position_embeddings": 131072,
    },
    "glm4": {"head_dim": 128, "num_key_value_heads": 2},
    "glm4_moe": {"num_key_value_heads": 8},
    "glm4_moe_lite": {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 192, "v_head_dim": 256},
    "glm_moe_dsa": {
        "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 192, "v_head_dim": 256, **_DSA,
    },
    "gpt_oss": {"head_dim": 64, "num_key_value_heads": 8, "sliding_window": 128, "num_attention_heads": 64},
    "granitemoehybrid": {**_MAMBA2, "mamba_d_head": 64},
    "jamba": {
        "num_key_value_heads": 8, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2,
        "attn_layer_offset": 4, "attn_layer_period": 8,
    },
    "lfm2": {"num_key_value_heads": 8, "conv_L_cache": 3},
    "lfm2_moe": {"num_key_value_heads": 8, "conv_L_cache": 3},
    "llama4_text": {
        "head_dim": 128, "num_key_value_heads": 8, "num_attention_heads": 40, "num_hidden_layers": 48,
        "hidden_size": 5120, "attention_chunk_size": 8192, "no_rope_layer_interval": 4,
        "max_position_embeddings": 131072,
    },
    "longcat_flash": _MLA,
    "mamba": {"conv_kernel": 4, "state_size": 16, "expand": 2},
    "mamba2": {"n_groups": 8, "conv_kernel": 4, "state_size": 128, "expand": 2, "num_heads": 128, "head_dim": 64},
    "minimax_m2": {"head_dim": 128, "num_key_value_heads": 8},
    "ministral3": {"head_dim": 128, "num_key_value_heads": 8},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "mixtral": {"num_key_value_heads": 8},
    "nemotron_h": {
        "head_dim": 128, "num_key_value_heads": 8, "mamba_num_heads": 128, "mamba_head_dim": 64, "ssm_state_size": 128,
        "n_groups": 8, "conv_kernel": 4,
    },
    "olmo3": {"sliding_window": 4096},
    "olmo_hybrid": {
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 96, "linear_num_key_heads": 30,
        "linear_num_value_heads": 30, "linear_value_head_dim": 192,
    },
    "paddleocr_vl_text": {"head_dim": 128, "num_key_value_heads": 2},
    "phimoe": {"num_key_value_heads": 8},
    "qwen2_5_omni_text": {"num_key_value_heads": 4},
    "qwen3": {"head_dim": 128},
    "qwen3_moe": {"num_key_value_heads": 4},
    "qwen3_next": {**_GDN, "num_key_value_heads": 2, "num_attention_heads": 16},
    "qwen3_5_text": {**_GDN, "num_key_value_heads": 4, "num_attention_heads": 16},
    "qwen3_5_moe_text": {**_GDN, "num_key_value_heads": 2, "num_attention_heads": 16},
    "seed_oss": {"head_dim": 128, "num_key_value_heads": 8},
    "smollm3": {"num_key_value_heads": 4},
    "starcoder2": {"num_key_value_heads": 2},
    "zamba2": {"mamba_d_state": 64, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_ngroups": 1, "n_mamba_heads": 8},
}  # fmt: skip
"""By `model_type` of the text model: what a missing key means. An explicit null stays null."""

_LARGEST = 2**53
"""JSON numbers are exact to there."""

_TEXT_KEYS = ("text_config", "llm_config", "language_config", "thinker_config")


@dataclass(frozen=True, slots=True)
class ConfigView:
    """`values` is the text model's part, `root` the whole file; both as parsed."""

    root: Mapping[str, object]
    values: Mapping[str, object]
    defaults: Mapping[str, int]

    def raw(self, name: str) -> object:
        """The value as parsed; the class default where the key is missing; None where there is neither."""
        if name in self.values:
            return self.values[name]
        return self.defaults.get(name)

    def whole(self, *names: str) -> int | None:
        """The first of these keys that holds a whole number.

        Raises:
            MalformedModelError: it is one that no model has: below zero, or too big to count anything.
        """
        for name in names:
            value = self.raw(name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if isinstance(value, int) or value.is_integer():
                if not 0 <= value <= _LARGEST:
                    raise MalformedModelError(f"config.json: {name} is {value:.6g}")
                return int(value)
        return None

    def required(self, *names: str) -> int:
        """As `whole`.

        Raises:
            MalformedModelError: none of the keys is there; no number is better than a guessed one.
        """
        value = self.whole(*names)
        if value is None:
            raise MalformedModelError(f"config.json has no {' or '.join(names)}")
        return value

    def positive(self, *names: str) -> int:
        """As `required`, and not 0: for what is divided by."""
        value = self.required(*names)
        if value == 0:
            raise MalformedModelError(f"config.json: {' or '.join(names)} is 0")
        return value

    def words(self, name: str) -> tuple[str, ...] | None:
        """A list of words ("layer_types"), None where it is not one."""
        value = self.raw(name)
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(str(item) for item in value)
        return None

    def wholes(self, name: str) -> tuple[int, ...] | None:
        """A list of whole numbers, None where it is not one."""
        value = self.raw(name)
        if isinstance(value, list | tuple) and all(isinstance(item, int) for item in value):
            return tuple(int(item) for item in value if isinstance(item, int))
        return None

    def word(self, name: str) -> str | None:
        """A string value."""
        value = self.raw(name)
        return value if isinstance(value, str) else None

    def flag(self, name: str) -> bool:
        """A truth value, false where the key is missing."""
        return bool(self.raw(name))

    def part(self, name: str) -> Mapping[str, object]:
        """A nested object, empty where there is none."""
        value = self.raw(name)
        return value if isinstance(value, Mapping) else {}


def view(config: Mapping[str, object]) -> ConfigView:
    """The text model of a checkpoint: the root, or the nested part of a multimodal one."""
    text: Mapping[str, object] = config
    for key in _TEXT_KEYS:
        nested = text.get(key)
        if isinstance(nested, Mapping):
            text = nested
            inner = nested.get("text_config")
            text = inner if isinstance(inner, Mapping) else nested
            break
    model_type = text.get("model_type")
    return ConfigView(config, text, CLASS_DEFAULTS.get(model_type, {}) if isinstance(model_type, str) else {})
