"""Which cache tensors llama.cpp creates (`create_memory`, src/llama-model.cpp; src/llama-kv-cache*.cpp, b11434)."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from kvtop.domain.plan import NoExactRuleError, Refusal
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.memory.buffers import BufferRule
from kvtop.planning.llamacpp.memory.placement import Placement
from kvtop.planning.llamacpp.model.hparams import HParams

FULL = "full"
SLIDING_WINDOW = "sliding_window"
INDEXER = "indexer"
COMPRESSED = "compressed"

COMPRESSED_RATIOS = (4, 128)
"""DeepSeek V4: tokens per cell of its finely and coarsely compressed attention."""

_PAD_CELLS = 256


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """`layers` equal layers of one cache on one device. Widths are values per row; `width_v` None: no V tensor.

    `ratio` tokens share a cell. `own_streams`: every sequence has its own cells even in a unified pool.
    """

    kind: str
    device: str
    width_k: int
    width_v: int | None
    layers: int
    ratio: int = 1
    own_streams: bool = False


def cache_groups(
    hparams: HParams, placement: Placement, v_transposed: bool, prediction: bool
) -> tuple[CacheGroup, ...]:
    """All attention caches of one context.

    `prediction`: the second context of `--spec-type draft-mtp`, which holds the prediction blocks only.
    """
    if hparams.traits.memory in {"none", "recurrent"}:
        return ()
    if hparams.traits.compressed and not prediction:
        return compressed_groups(hparams, placement)
    wanted = _prediction_filter(hparams) if prediction else _trunk_filter(hparams)
    counted: Counter[tuple[str, str, int, int | None]] = Counter()
    widest = hparams.n_embd_v_gqa_max if v_transposed else 0
    for layer in range(hparams.n_layer_all):
        if not hparams.has_kv(layer) or not wanted(layer):
            continue
        kind = SLIDING_WINDOW if hparams.is_swa[layer] else FULL
        width_v = None if hparams.is_mla and not hparams.traits.caches_latent_values else hparams.n_embd_v_gqa(layer)
        if width_v is not None and v_transposed:
            # Transposed values share one row length over all layers ([TAG_V_CACHE_VARIABLE]).
            width_v = widest
        counted[kind, placement.cache_device(layer), hparams.n_embd_k_gqa(layer), width_v] += 1
    for layer in _indexer_layers(hparams, prediction):
        slots = hparams.indexer_row_slots
        # One key head. Where the model is not latent, the engine adds one value head that nobody reads.
        width_v = None if hparams.is_mla else hparams.n_embd_head_v[layer]
        counted[INDEXER, placement.cache_device(layer), hparams.indexer_head_size * slots, width_v] += 1
    return tuple(CacheGroup(*key, layers) for key, layers in counted.items())


def compressed_groups(hparams: HParams, placement: Placement) -> tuple[CacheGroup, ...]:
    """DeepSeek V4 (src/llama-kv-cache-dsv4.cpp): keys only, a window of all layers and compressed pasts of some."""
    counted: Counter[tuple[str, str, int, int]] = Counter()
    for layer in range(hparams.n_layer_all):
        device, width = placement.cache_device(layer), hparams.n_embd_k_gqa(layer)
        counted[SLIDING_WINDOW, device, width, 1] += 1
        ratio = hparams.compress_ratios[layer]
        if ratio in COMPRESSED_RATIOS:
            counted[COMPRESSED, device, width, ratio] += 1
        if ratio == COMPRESSED_RATIOS[0]:
            counted[INDEXER, device, hparams.indexer_head_size, ratio] += 1
    return tuple(
        CacheGroup(kind, device, width, None, layers, ratio, own_streams=True)
        for (kind, device, width, ratio), layers in counted.items()
    )


def _trunk_filter(hparams: HParams) -> Callable[[int], bool]:
    which, n_layer = hparams.traits.cached_layers, hparams.n_layer
    if which == "all":
        return lambda _: True
    if which == "attention_alone":
        return lambda layer: not hparams.is_recurrent[layer] and hparams.n_ff[layer] == 0
    if which == "attention_of_trunk":
        return lambda layer: layer < n_layer and not hparams.is_recurrent[layer]
    if which == "attention":
        # The default filter of hybrids does not leave prediction blocks out.
        return lambda layer: not hparams.is_recurrent[layer]
    return lambda layer: layer < n_layer


def _prediction_filter(hparams: HParams) -> Callable[[int], bool]:
    # Of GLM 5 Next and Mistral 4 the engine itself has no graph for them.
    if hparams.traits.prediction != "on_demand":
        raise NoExactRuleError(f"kvtop has no rule for a prediction context of {hparams.arch}")
    return lambda layer: layer >= hparams.n_layer


def _indexer_layers(hparams: HParams, prediction: bool) -> list[int]:
    which = hparams.traits.indexer
    if which == "after_dense":
        return list(range(hparams.n_layer_dense_lead, hparams.n_layer_all))
    if hparams.traits.pooled_indexer:
        return [il for il in range(hparams.n_layer) if not hparams.is_recurrent[il] and hparams.is_indexer_full[il]]
    if not which or prediction or hparams.indexer_top_k == 0:
        return []
    return [il for il in range(hparams.n_layer) if hparams.is_indexer_full[il]]


def group_bytes(group: CacheGroup, context: ResolvedContext, buffer: BufferRule) -> int | Refusal:
    """Bytes of one group: per layer a K and a V tensor of [width, cells, streams], each padded by its buffer."""
    rows = group_cells(group, context) * (context.n_seq_max if group.own_streams else context.n_stream)
    try:
        size_bytes = buffer.allocated_rows(CACHE_TYPES[context.type_k], group.width_k, rows)
        if group.width_v is not None:
            size_bytes += buffer.allocated_rows(CACHE_TYPES[context.type_v], group.width_v, rows)
    except ValueError as error:
        return Refusal("llama.cpp", f"GGML_ASSERT(ne % ggml_blck_size(type) == 0) failed: {error}")
    return size_bytes * group.layers


def group_cells(group: CacheGroup, context: ResolvedContext) -> int:
    """Cells of one stream."""
    if group.kind == SLIDING_WINDOW:
        return context.swa_cells
    if group.ratio == 1:
        return context.n_ctx_seq
    cells = max(1, -(-context.n_ctx_seq // group.ratio))
    return -(-cells // _PAD_CELLS) * _PAD_CELLS


def bytes_per_token(groups: tuple[CacheGroup, ...], context: ResolvedContext, swa_full: bool) -> float:
    """Bytes of one more cell in every cache that grows with the context, all devices together."""
    kind_k, kind_v = CACHE_TYPES[context.type_k], CACHE_TYPES[context.type_v]
    total = 0.0
    for group in groups:
        if group.kind == SLIDING_WINDOW and not swa_full:
            continue
        row = group.width_k * kind_k.block_bytes / kind_k.block_values
        if group.width_v is not None:
            row += group.width_v * kind_v.block_bytes / kind_v.block_values
        total += row * group.layers / group.ratio
    return total
