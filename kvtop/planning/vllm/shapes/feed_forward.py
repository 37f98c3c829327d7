"""The feed-forward part of a layer: dense, or routed experts with shared ones beside them.

Source: vLLM 0.32.0, `model_executor/models/*.py`; the keys are those of the families' config.json.
"""

import re
from collections.abc import Mapping, Sequence

from kvtop.domain.plan import MalformedModelError
from kvtop.planning.vllm.models.cached_layers import hidden_size
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.shapes.matrix import Cut, Matrix

_PLAIN = frozenset(
    (
        "gpt2",
        "gptj",
        "gpt_neox",
        "gpt_bigcode",
        "falcon",
        "bloom",
        "opt",
        "phi",
        "starcoder2",
        "nemotron",
        "nemotron_h",
        "arcee",
        "apertus",
        "whisper",
        "jais2",
        "persimmon",
        "mpt",
    )
)
"""Model types with one matrix up and one down, without a gate."""
_FOURFOLD = frozenset(
    (
        "gpt2",
        "gptj",
        "gpt_bigcode",
        "falcon",
        "bloom",
        "mpt",
    )
)
"""Model types whose inner width is four times the outer one where nothing is said."""
_MIXTURES = frozenset(
    (
        "mixtral",
        "gpt_oss",
        "phimoe",
        "dbrx",
        "jamba",
        "kimi_k2",
        "kimi_linear",
        "bailing_moe_v2",
    )
)
"""Model types that have experts and do not say so in their name."""
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts")
_EXPERT_WIDTHS = ("moe_intermediate_size", "expert_hidden_dim", "moe_ffn_hidden_size", "expert_ffn_hidden_size")
_WIDTHS = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "decoder_ffn_dim", "block_ff_dim")


def expert_count(view: ConfigView) -> int:
    """Routed experts of a layer, 0 for a dense model."""
    nested = view.part("ffn_config").get("moe_num_experts")
    if isinstance(nested, int):
        return nested
    found = view.whole(*_EXPERTS)
    if found is None and isinstance(view.raw("moe_num_experts"), list):
        listed = view.wholes("moe_num_experts")
        found = listed[0] if listed else None
    kind = view.word("model_type") or ""
    if not found and (kind in _MIXTURES or re.search(r"moe|deepseek_v|minimax_m", kind)):
        raise MalformedModelError(f"config.json has no {' or '.join(_EXPERTS)}")
    return found or 0


def experts_per_token(view: ConfigView) -> int:
    """Routed experts that a token is sent to."""
    names = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "experts_per_token", "top_k_experts")
    nested = view.part("ffn_config").get("moe_top_k")
    return nested if isinstance(nested, int) else view.whole(*names) or 1


def expert_width(view: ConfigView) -> int:
    """Inner width of one routed expert."""
    nested = view.part("ffn_config").get("ffn_hidden_size")
    if isinstance(nested, int):
        return nested
    listed = view.wholes("moe_intermediate_size")
    return (listed[0] if listed else None) or view.required(*_EXPERT_WIDTHS, *_WIDTHS)


def dense_width(view: ConfigView, index: int = 0) -> int:
    """Inner width of a dense layer."""
    listed = view.wholes("intermediate_size")
    if listed is not None and index < len(listed):
        return listed[index]
    if view.word("model_type") in ("lfm2", "lfm2_moe"):
        return _adjusted_width(view)
    blocks = view.raw("block_configs")
    if isinstance(blocks, list | tuple) and index < len(blocks):
        return _block_width(view, blocks[index])
    if view.word("model_type") in _FOURFOLD:
        return view.whole(*_WIDTHS) or 4 * hidden_size(view)
    return view.required("intermediate_size_mlp", "dense_intermediate_size", *_WIDTHS)


def _adjusted_width(view: ConfigView) -> int:
    """lfm2.py: two thirds of the stated width in multiples of 256, unless that is switched off."""
    width = view.whole("block_ff_dim", "intermediate_size") or 4 * hidden_size(view)
    if view.word("model_type") == "lfm2_moe":
        return view.whole("intermediate_size") or width
    if view.raw("block_auto_adjust_ff_dim") is False:
        return width
    multiplier = view.raw("block_ffn_dim_multiplier")
    unit = view.whole("block_multiple_of") or 256
    scaled = int(2 * width / 3 * (multiplier if isinstance(multiplier, int | float) else 1))
    return -(-scaled // unit) * unit


def _block_width(view: ConfigView, block: object) -> int:
    """nemotron_nas.py: two thirds of a multiple of the width, in multiples of 256; 0 where there is nothing."""
    part = block.get("ffn") if isinstance(block, Mapping) else None
    factor = part.get("ffn_mult") if isinstance(part, Mapping) else None
    if not isinstance(factor, int | float) or (isinstance(part, Mapping) and part.get("no_op")):
        return 0
    return -(-int(2 * factor * hidden_size(view) / 3) // 256) * 256


def has_gate(view: ConfigView) -> bool:
    """Whether a layer has a gate's matrix beside the one up."""
    return view.word("model_type") not in _PLAIN


def dense(view: ConfigView, index: int, width: int | None = None, at: str = "mlp") -> list[Matrix]:
    """Gate, up and down."""
    inner, outer = dense_width(view, index) if width is None else width, hidden_size(view)
    if not inner:
        return []
    found = [Matrix(f"layers.{index}.{at}.up_proj", inner, outer, Cut.OUTPUT, index)]
    if has_gate(view):
        found.append(Matrix(f"layers.{index}.{at}.gate_proj", inner, outer, Cut.OUTPUT, index))
    return [*found, Matrix(f"layers.{index}.{at}.down_proj", outer, inner, Cut.INPUT, index)]


def mixture(view: ConfigView, index: int) -> list[Matrix]:
    """Routed experts, their router, shared experts, and projections into a narrower space where there are any."""
    experts, inner, outer = expert_count(view), expert_width(view), hidden_size(view)
    latent = view.whole("moe_latent_size") or outer
    # Gemma 4 has its experts beside the dense part, not in it.
    at = f"layers.{index}.moe" if view.flag("enable_moe_block") else f"layers.{index}.mlp"
    up_rows = inner * (2 if has_gate(view) else 1)
    found = [
        Matrix(f"{at}.experts.up", up_rows, latent, Cut.OUTPUT, index, count=experts, is_expert=True),
        Matrix(f"{at}.experts.down", latent, inner, Cut.INPUT, index, count=experts, is_expert=True),
        Matrix(f"{at}.gate", experts, outer, Cut.WHOLE, index, is_linear=False),
    ]
    if latent != outer:
        found.append(Matrix(f"{at}.fc1_latent_proj", latent, outer, Cut.WHOLE, index))
        found.append(Matrix(f"{at}.fc2_latent_proj", outer, latent, Cut.WHOLE, index))
    shared = shared_width(view)
    if shared:
        found += dense(view, index, shared, "mlp.shared_experts")
    return found


def shared_width(view: ConfigView) -> int:
    """Inner width of all shared experts together, 0 where there are none."""
    stated = view.whole("moe_shared_expert_intermediate_size", "shared_expert_intermediate_size", "share_expert_dim")
    number = view.whole("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
    if stated is not None:
        return stated * (number if number and view.word("model_type") == "nemotron_h" else 1)
    if view.word("model_type") == "llama4_text":
        return view.whole("intermediate_size") or 0
    named = view.whole("shared_intermediate_size")
    if named is not None and number is None:
        return named
    return (number or 0) * expert_width(view)


def is_mixture(view: ConfigView, index: int) -> bool:
    """Whether the layer has experts, by whichever key the family says so."""
    if not expert_count(view):
        return False
    types = view.words("mlp_layer_types")
    if types is not None and index < len(types):
        return types[index] == "sparse"
    frequencies = view.wholes("moe_layer_freq") or view.wholes("moe_layers")
    if frequencies is not None and view.wholes("moe_layer_freq") is not None:
        return index < len(frequencies) and frequencies[index] == 1
    listed = view.word("moe_layers_enum")
    if listed:
        return str(index) in listed.split(",")
    return _by_count(view, index)


def _by_count(view: ConfigView, index: int) -> bool:
    first = view.whole("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index") or 0
    last = view.whole("moe_layer_end_index")
    if index < first or (last is not None and last > 0 and index > last):
        return False
    only_dense = view.wholes("mlp_only_layers") or ()
    step = view.whole("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval") or 1
    if index in only_dense or (index + 1) % step:
        return False
    every = view.whole("moe_layer_freq") or 1
    period, offset = view.whole("expert_layer_period"), view.whole("expert_layer_offset")
    if period:
        return index % period == (offset or 0)
    return index % every == 0


def letters(config: Mapping[str, object], layers: int) -> Sequence[str] | None:
    """Nemotron-H's pattern: one letter a layer, M state, * attention, - dense, E experts."""
    pattern = config.get("hybrid_override_pattern")
    if isinstance(pattern, str) and len(pattern) >= layers:
        return pattern
    types = config.get("layers_block_type")
    if isinstance(types, list | tuple) and {"mlp", "moe"} & {str(kind) for kind in types}:
        short = {"mamba": "M", "attention": "*", "mlp": "-", "moe": "E"}
        return [short.get(str(kind), "-") for kind in types]
    return None
