"""Each amount of a plan as the product or the sum it is: what a person can check with a pocket calculator."""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.planning.cache_types import CACHE_TYPES, ElementType
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.memory.attention_scratch import F16, Scratch, scratch_of
from kvtop.planning.llamacpp.memory.kv_cache import CacheGroup, group_bytes, group_cells
from kvtop.planning.llamacpp.memory.layout import ModelLayout
from kvtop.planning.llamacpp.memory.placement import HOST
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.memory.recurrent import RecurrentGroup, recurrent_bytes
from kvtop.planning.llamacpp.memory.weight import Weight, sum_of
from kvtop.planning.llamacpp.memory.weights import Loading, WeightSet, weights_by_device
from kvtop.planning.llamacpp.model_plan import ModelPlan
from kvtop.text import bytes_text

F32_BYTES = 4


def cache_arithmetic(group: CacheGroup, context: ResolvedContext, layout: ModelLayout) -> str:
    """Layers x streams x cells x bytes of a K and a V row, and what the buffers add for alignment. "" if refused."""
    total = group_bytes(group, context, layout.buffers[group.device])
    if not isinstance(total, int):
        return ""
    kinds = [(CACHE_TYPES[context.type_k], group.width_k)]
    if group.width_v is not None:
        kinds.append((CACHE_TYPES[context.type_v], group.width_v))
    streams = context.n_seq_max if group.own_streams else context.n_stream
    cells = group_cells(group, context)
    factors = [(group.layers, "layers"), (streams, "streams"), (cells, "cells")]
    rows = [kind.row_bytes(width) for kind, width in kinds]
    return _product(factors, rows, [_row(kind, width) for kind, width in kinds], total)


def _row(kind: ElementType, width: int) -> str:
    if kind.block_values == 1:
        return f"{width} values of {kind.block_bytes} bytes"
    return f"{width} values in blocks of {kind.block_values} of {kind.block_bytes} bytes"


def state_arithmetic(group: RecurrentGroup, context: ResolvedContext, layout: ModelLayout) -> str:
    """Layers x rows x f32 values."""
    total = recurrent_bytes(group, context, layout.buffers)
    rows = max(1, context.n_seq_max) * (1 + context.n_rs_seq)
    factors = [(group.layers, "layers"), (rows, "rows")]
    return _product(factors, [values * F32_BYTES for values in group.values], [], total)


def output_arithmetic(values: int, sequences: int, total_bytes: int) -> str:
    """Logits, and embeddings where they are asked for, of one token a sequence."""
    return _product([(sequences, "sequences"), (values, "values")], [F32_BYTES], [], total_bytes)


def copied_bytes(found: ModelPlan) -> int:
    """The largest copy that fused attention makes of a layer's cache on an accelerator."""
    return max((size_bytes for size_bytes, _, _ in _copies(found)), default=0)


def scratch_arithmetic(found: ModelPlan) -> str:
    """The same as a product, or ""."""
    copies = _copies(found)
    if not copies:
        return ""
    size_bytes, cells, widths = max(copies)
    values = " + ".join(map(str, widths))
    return f"{cells} cells x ({values}) values x {F16} bytes = {amount(size_bytes)}, in the compute buffer"


def _copies(found: ModelPlan) -> list[tuple[int, int, list[int]]]:
    """(bytes, cells, widths) of each group of layers, where attention is fused."""
    context = found.context
    scratch = scratch_of(found.layout.compute_api, found.prepared.hparams.build.build)
    copies: list[tuple[int, int, list[int]]] = []
    if not context.flash_attention:
        return copies
    for group in found.groups:
        if not group.device or group.device == HOST:
            continue
        cells = group_cells(group, context) * (context.n_seq_max if group.own_streams else context.n_stream)
        cached = [(group.width_k, context.type_k)]
        if group.width_v is not None:
            cached.append((group.width_v, context.type_v))
        widths = [width for width, kind in cached if scratch is Scratch.COPIES_ALL or kind not in {"f16", "f32"}]
        if widths and scratch is not Scratch.NONE:
            copies.append((cells * sum(widths) * F16, cells, widths))
    return copies


def _product(factors: list[tuple[int, str]], row_bytes: list[int], rows: list[str], total_bytes: int) -> str:
    product = sum(row_bytes)
    for count, _ in factors:
        product *= count
    names = " x ".join(
        f"{count} {_number_of(name, count)}" for count, name in factors if count != 1 or name == "layers"
    )
    row = " + ".join(map(str, row_bytes))
    row = f"({row}) bytes" if len(row_bytes) > 1 else f"{row} bytes"
    padding = f" + {total_bytes - product} bytes of padding" if total_bytes != product else ""
    explained = f", a row of {' and '.join(dict.fromkeys(rows))}" if rows else ""
    return f"{names} x {row}{padding} = {amount(total_bytes)}{explained}"


def _number_of(name: str, count: int) -> str:
    return name.removesuffix("s") if count == 1 else name


def amount(size_bytes: int) -> str:
    """ "4456448 bytes (4.25 MiB)"."""
    return f"{size_bytes} bytes ({bytes_text(size_bytes)})"


def weights_by_type(
    prepared: PreparedModel, layout: ModelLayout, *, with_prediction: bool, repack: bool
) -> Mapping[str, Mapping[str, int]]:
    """Bytes of weights by device and type of tensor; every device of the layout has an entry."""
    key = ("weights by type", layout, with_prediction, repack)
    return prepared.remember(key, lambda: _by_type(prepared, layout, with_prediction, repack))


def _by_type(
    prepared: PreparedModel, layout: ModelLayout, with_prediction: bool, repack: bool
) -> Mapping[str, Mapping[str, int]]:
    loading = Loading(layout.placement, layout.buffers, layout.overridden, with_prediction, repack)
    found: dict[str, dict[str, int]] = {name: {} for name in layout.buffers}
    for kind in _types(prepared.weights):
        for name, size_bytes in weights_by_device(_only(prepared.weights, kind), prepared.hparams, loading).items():
            if size_bytes:
                found[name][kind] = size_bytes
    return found


def _types(weights: WeightSet) -> list[str]:
    pieces = [piece for kinds in set(weights.blocks.values()) for piece in kinds]
    every = {_type_of(piece) for piece in (*pieces, *(piece for _, piece in weights.others))}
    return sorted(every)


def _type_of(piece: Weight) -> str:
    return piece.tensor.type_name or f"type {piece.tensor.type_id}"


def _only(weights: WeightSet, kind: str) -> WeightSet:
    """The tensors of one type: where each goes does not depend on the others."""
    kept: dict[tuple[Weight, ...], tuple[Weight, ...]] = {}
    for pieces in weights.blocks.values():
        if pieces not in kept:
            kept[pieces] = tuple(piece for piece in pieces if _type_of(piece) == kind)
    copy = weights.copy
    return replace(
        weights,
        blocks={block: kept[pieces] for block, pieces in weights.blocks.items()},
        others=tuple((site, piece) for site, piece in weights.others if _type_of(piece) == kind),
        sums={pieces: sum_of(pieces) for pieces in kept.values()},
        copy=copy if copy is not None and _type_of(copy) == kind else None,
    )


def weights_arithmetic(by_type: Mapping[str, int]) -> str:
    """The sum over types, the largest first."""
    terms = sorted(by_type.items(), key=lambda it: (-it[1], it[0]))
    if not terms:
        return "nothing"
    total = sum(by_type.values())
    if len(terms) == 1:
        return f"{terms[0][0]}: {amount(total)}"
    return " + ".join(f"{size_bytes} of {kind}" for kind, size_bytes in terms) + f" = {amount(total)}"
