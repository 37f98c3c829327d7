"""The weights of each pipeline stage's ranks, from the tensors that lie in the checkpoint, or from shapes alone.

Source: vLLM 0.32.0, `layers/linear.py` (column, row and QKV splits), `layers/vocab_parallel_embedding.py` (rows padded
to 64), `models/utils.py` (`PPMissingLayer`, tied heads). What kernels repack or pad after loading is not counted.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from kvtop.domain.figure import Figure
from kvtop.domain.model_file import Checkpoint, CheckpointTensor
from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.dtypes import ELEMENT_BYTES
from kvtop.planning.vllm.models.cached_layers import CachedLayer, attention_heads, layer_count, total_kv_heads
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.models.model_facts import quantisation
from kvtop.planning.vllm.shapes.matrix import Matrix
from kvtop.planning.vllm.shapes.placement import Parallel
from kvtop.planning.vllm.shapes.stage_shapes import ShapeTerms, shape_weights
from kvtop.text import plain_number

VOCABULARY_PADDING = 64
"""Rows of embeddings and heads come in multiples of this (`DEFAULT_VOCAB_PADDING_SIZE`)."""
_PLAIN = ("BF16", "F16", "F32")


class ShardKind(StrEnum):
    """How one tensor is spread over tensor-parallel ranks."""

    VOCABULARY = "vocabulary"
    OUTPUT = "output"
    """Column-parallel: weight and bias are cut."""
    INPUT = "input"
    """Row-parallel: the weight is cut, the bias is whole on every rank."""
    KV = "kv"
    QKV = "qkv"
    WHOLE = "whole"


_SPLITS: tuple[tuple[ShardKind, str], ...] = (
    (ShardKind.VOCABULARY, r"embed_tokens|word_embeddings|wte|tok_embeddings|embed_in|lm_head|embed_out"),
    (ShardKind.KV, r"k_proj|v_proj|wk|wv"),
    (ShardKind.QKV, r"qkv_proj|query_key_value|c_attn|Wqkv"),
    (
        ShardKind.OUTPUT,
        r"q_proj|q_b_proj|kv_b_proj|gate_proj|up_proj|gate_up_proj|fc1|c_fc|dense_h_to_4h|w1|w3|wq|sinks",
    ),
    (ShardKind.INPUT, r"o_proj|down_proj|fc2|c_proj|out_proj|w2|wo|dense|dense_4h_to_h"),
    (
        ShardKind.WHOLE,
        r".*norm\w*|ln_\w+|q_a_proj|kv_a_proj_with_mqa|gate|router|e_score_correction_bias|wpe|embed_positions|shared_expert_gate",
    ),
)
_TOWERS = frozenset({"visual", "vision_tower", "vision_model", "multi_modal_projector", "audio_tower"})
_ON_EVERY_STAGE = ("gemma", "gemma2", "gemma3_text", "cohere", "cohere2", "gpt2", "falcon", "bloom", "opt", "dbrx")
"""Model types whose classes keep embedding and final norm on every pipeline stage."""
_RULES = tuple((split, re.compile(pattern)) for split, pattern in _SPLITS)


@dataclass(frozen=True, slots=True)
class StageWeights:
    """Bytes on one rank of each pipeline stage, None where they are not known; `notes` are for a person.

    `reason` says why they are ranges, "" where they are exact.
    """

    per_stage: tuple[Figure | None, ...]
    notes: tuple[str, ...] = ()
    reason: str = ""


FROM_SHAPES = "weights by the shapes that config.json implies"
_KEPT = ("F8_E4M3", "F8_E5M2", "I8")
"""Stored types that are kept as they are; others are packed anew for their kernels."""
_REPACK_RATIO = 0.02
_REPACKED = "weights that kernels pack anew or keep twice"
_UNKNOWN_SPLIT = "a tensor whose split over ranks is not known"


def stage_weights(
    checkpoint: Checkpoint,
    config: ConfigView,
    caches: tuple[CachedLayer, ...],
    terms: ShapeTerms,
    extra: tuple[Matrix, ...] = (),
) -> StageWeights:
    """The weights that vLLM loads on one rank of each stage, which holds the decoder layers [start, stop).

    `caches`: the layers of one rank that holds all heads, and `extra`: a draft's matrices, for a checkpoint without
    tensors.
    """
    if checkpoint.tensors and not _is_padded(config):
        return _of_tensors(checkpoint, config, terms)
    try:
        ranges, doubt = shape_weights(config, caches, terms, extra)
    except NoExactRuleError as error:
        return StageWeights((None,) * len(terms.stages), (f"no weights lie beside config.json: {error}",))
    reason = f"{FROM_SHAPES}, {doubt}" if doubt else FROM_SHAPES
    told = "no weights lie here: their bytes follow from the shapes in config.json"
    if checkpoint.tensors:
        told = "experts are padded when they are loaded: the weights follow from the shapes in config.json"
    return StageWeights(ranges, (f"{told}{_tail(doubt)}",), reason)


def _is_padded(config: ConfigView) -> bool:
    """Whether loading makes the experts larger than the file has them, and the shapes say by how much."""
    is_mxfp4 = "mxfp4" in str(quantisation(config).get("quant_method", "")).lower()
    return is_mxfp4 and config.whole("intermediate_size") is not None and config.whole("vocab_size") is not None


def _tail(doubt: str) -> str:
    return f" ({doubt})" if doubt else ""


def _of_tensors(checkpoint: Checkpoint, config: ConfigView, terms: ShapeTerms) -> StageWeights:
    stages, parallel = terms.stages, terms.parallel
    names = {tensor.name for tensor in checkpoint.tensors}
    tied = config.flag("tie_word_embeddings") or not any("lm_head" in name or "embed_out" in name for name in names)
    lows, highs, last = [0] * len(stages), [0] * len(stages), len(stages) - 1
    everywhere = config.word("model_type") in _ON_EVERY_STAGE
    packed = False
    repacked, unfolded = 0, _unfolded_bytes(config, terms)
    unknown: list[str] = []
    for tensor in checkpoint.tensors:
        held = _stages_of(tensor.name, stages, layer_count(config), tied=tied)
        if not held and terms.loads_draft and _is_draft(tensor.name, layer_count(config)):
            held = (last,)
        if held in ((0,), (0, last), (last,)) and everywhere and not _is_layer(tensor.name):
            held = tuple(range(len(stages)))
        if not held:
            continue
        packed = packed or tensor.dtype not in _PLAIN
        split = _split_of(tensor.name)
        low, high = _bounds(tensor, split, config, terms.model_dtype, parallel)
        if low != high:
            unknown.append(tensor.name)
        if tensor.dtype not in (*_PLAIN, *_KEPT):
            repacked += high
        for stage in held:
            lows[stage] += low
            highs[stage] += high
    notes = ("weights are those of the file: quantised kernels may repack or pad them",) if packed else ()
    if not unknown and not repacked and not unfolded:
        return StageWeights(tuple(Figure.computed(size) for size in lows), notes)
    slack = int(repacked * _REPACK_RATIO)
    lows, highs = [max(0, low - slack) for low in lows], [high + slack + 2 * unfolded for high in highs]
    if not unknown:
        ranges = tuple(Figure.estimated((low + high) // 2, low, high) for low, high in zip(lows, highs, strict=True))
        return StageWeights(ranges, notes, _REPACKED)
    told = f"how vLLM splits {_some(unknown)} over ranks is not known to kvtop: the weights are a range"
    ranges = tuple(Figure.estimated((low + high) // 2, low, high) for low, high in zip(lows, highs, strict=True))
    return StageWeights(ranges, (*notes, told), _UNKNOWN_SPLIT)


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _bounds(
    tensor: CheckpointTensor, split: ShardKind | None, config: ConfigView, model_dtype: str, parallel: Parallel
) -> tuple[int, int]:
    """The least and the most that a rank holds of a tensor; equal where the split is known."""
    if _is_routed(tensor.name):
        whole = _rank_bytes(tensor, ShardKind.WHOLE, config, model_dtype, 1)
        share = -(-whole // parallel.expert_ranks)
        return share, share
    if split is None and parallel.tp_size > 1:
        whole = _rank_bytes(tensor, ShardKind.WHOLE, config, model_dtype, 1)
        return whole // parallel.tp_size, whole
    size = _rank_bytes(tensor, split or ShardKind.WHOLE, config, model_dtype, parallel.tp_size)
    return size, size


def _is_draft(name: str, layers: int) -> bool:
    """Whether a tensor belongs to a layer of next-token prediction; embedding and head are shared with the model."""
    if re.search(r"embed_tokens|shared_head\.head", name):
        return False
    found = re.search(r"\.(?:layers|h|blocks|block)\.(\d+)\.", name)
    return bool(re.match(r"(?:model\.)?mtp\.", name)) or (
        found is not None and plain_number(found.group(1), layers - 1) is None
    )


def _unfolded_bytes(config: ConfigView, terms: ShapeTerms) -> int:
    """Latent attention keeps what unfolds its rows a second time, in the model's dtype (`mla_attention.py`)."""
    rank = config.whole("kv_lora_rank")
    if not rank or config.whole("v_head_dim") is None:
        return 0
    width = (config.whole("qk_nope_head_dim") or 0) + config.required("v_head_dim")
    start, stop = terms.stages[0]
    each = attention_heads(config) * width * rank * ELEMENT_BYTES[terms.model_dtype] // terms.parallel.tp_size
    return each * (stop - start)


def _is_routed(name: str) -> bool:
    """Whether a tensor belongs to routed experts, which are cut over all ranks in one way or another."""
    return re.search(r"\.experts\.", name) is not None


def _split_of(name: str) -> ShardKind | None:
    """By the last word of the module's name; None where kvtop has no rule."""
    words = name.split(".")
    if _is_tower(name):
        return None
    module = words[-1] if words[-1] in ("sinks", "e_score_correction_bias") else ".".join(words[-2:-1])
    for split, rule in _RULES:
        if rule.fullmatch(module):
            return split
    return None


def _is_tower(name: str) -> bool:
    """Whether a tensor is part of an encoder beside the text model."""
    return not _TOWERS.isdisjoint(name.split("."))


def _is_layer(name: str) -> bool:
    return re.search(r"\.(?:layers|h|blocks|block)\.\d+\.", name) is not None


def _stages_of(name: str, stages: tuple[tuple[int, int], ...], layers: int, *, tied: bool) -> tuple[int, ...]:
    """The pipeline stages that hold a tensor; none for a head that is tied and for layers of a draft head."""
    last = len(stages) - 1
    if re.match(r"(?:model\.)?mtp\.", name):
        return ()
    if _is_tower(name):
        return (0,)
    found = re.search(r"\.(?:layers|h|blocks|block)\.(\d+)\.", name)
    if found is not None:
        index = plain_number(found.group(1), layers - 1)
        if index is None:
            return ()
        return tuple(stage for stage, (start, stop) in enumerate(stages) if start <= index < stop)
    if "lm_head" in name or "embed_out" in name:
        return () if tied else (last,)
    if re.search(r"embed|wte|wpe", name):
        return (0, last) if tied and last else (0,)
    return (last,)


def _rank_bytes(tensor: CheckpointTensor, split: ShardKind, config: ConfigView, model_dtype: str, tp_size: int) -> int:
    size = tensor.size_bytes
    if tensor.dtype in _PLAIN and not tensor.name.endswith("e_score_correction_bias"):
        elements = 1
        for length in tensor.shape:
            elements *= length
        if split is ShardKind.VOCABULARY and tensor.shape:
            rows = -(-tensor.shape[0] // VOCABULARY_PADDING) * VOCABULARY_PADDING
            elements = elements // max(1, tensor.shape[0]) * rows
        size = elements * ELEMENT_BYTES[model_dtype]
    if split is ShardKind.WHOLE or (split is ShardKind.INPUT and tensor.name.endswith(".bias")):
        return size
    if split in (ShardKind.KV, ShardKind.QKV):
        heads = total_kv_heads(config)
        kept = max(1, heads // tp_size)
        if split is ShardKind.KV:
            return size * kept // heads
        queries = attention_heads(config)
        return size * (queries // tp_size + 2 * kept) // (queries + 2 * heads)
    return size // tp_size
