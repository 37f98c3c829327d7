"""The parts of a bar: their glyphs, words and order, and how many columns each one gets."""

from dataclasses import dataclass

from kvtop.domain.figure import Figure
from kvtop.domain.frame import DeviceView, Split
from kvtop.domain.memory import Segment
from kvtop.views.tui.widgets.lines import Piece


@dataclass(frozen=True, slots=True)
class SegmentStyle:
    """How a part is drawn. `role` is its style and its theme variable; `glyph` tells it apart without any colour."""

    role: str
    glyph: str
    word: str
    meaning: str


WEIGHTS = SegmentStyle("weights", "█", "weights", "the model's tensors")
KV_USED = SegmentStyle("kv-used", "▓", "KV used", "cells of the KV cache that hold tokens now")
KV_RESERVED = SegmentStyle("kv-reserved", "░", "KV reserved", "allocated cells that hold nothing yet")
RECURRENT = SegmentStyle("recurrent", "▚", "recurrent", "state of recurrent layers; does not grow with the context")
COMPUTE = SegmentStyle("compute", "▌", "compute", "scratch buffers of the computation")
RUNTIME = SegmentStyle("runtime", "▄", "runtime", "driver context, kernels, libraries")
UNATTRIBUTED = SegmentStyle("unattributed", "▒", "unattributed", "measured, but not explained by any rule")
OTHER = SegmentStyle("other", "≡", "other", "processes that are no server, and the driver's own reserve")
FREE = SegmentStyle("free", "·", "free", "nobody's")

LOOKS = (WEIGHTS, KV_USED, KV_RESERVED, RECURRENT, COMPUTE, RUNTIME, UNATTRIBUTED, OTHER, FREE)
OF_SEGMENT = {
    Segment.WEIGHTS: WEIGHTS,
    Segment.KV_CACHE: KV_RESERVED,
    Segment.RECURRENT: RECURRENT,
    Segment.COMPUTE: COMPUTE,
    Segment.RUNTIME: RUNTIME,
    Segment.UNATTRIBUTED: UNATTRIBUTED,
}


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of one look. `is_partial`: something in it is unknown, so there is more than is shown."""

    look: SegmentStyle
    size_bytes: int
    is_partial: bool = False


def split_parts(splits: tuple[Split, ...]) -> tuple[Part, ...]:
    """Bytes by look over several splits, in drawing order, without free and other.

    A KV cache of known size and unknown use counts as reserved. A negative residual has no width: it counts as 0 here
    and is printed as it is in the ledger.
    """
    total = dict.fromkeys((look.role for look in LOOKS), 0)
    partial: set[str] = set()

    def add(look: SegmentStyle, figure: Figure) -> None:
        if figure.value_bytes is None:
            partial.add(look.role)
        else:
            total[look.role] += max(figure.value_bytes, 0)

    for split in splits:
        for segment, figure in split.memory.parts:
            add(OF_SEGMENT[segment], figure)
        cache_bytes = split.memory.bytes_of(Segment.KV_CACHE)
        if cache_bytes is not None and split.kv_used_bytes is not None:
            used = min(split.kv_used_bytes, cache_bytes)
            total[KV_USED.role] += used
            total[KV_RESERVED.role] -= used
        elif cache_bytes:
            partial.add(KV_USED.role)
    return tuple(Part(look, total[look.role], look.role in partial) for look in LOOKS[:7])


def device_parts(view: DeviceView) -> tuple[Part, ...]:
    """All nine looks of one device. Used bytes that nobody accounts for are unattributed, never spread around."""
    *parts, last = split_parts(tuple(split for _, split in view.splits))
    unattributed = Part(last.look, last.size_bytes + view.unaccounted_bytes, last.is_partial)
    free = view.free_bytes
    others = Part(OTHER, view.beside_bytes, view.other_bytes is None)
    return (*parts, unattributed, others, Part(FREE, free or 0, free is None))


def bar(parts: tuple[Part, ...], width: int, whole_bytes: int | None = None) -> tuple[Piece, ...]:
    """A stacked bar of exactly `width` columns.

    Every part that is there gets a column, however small, as long as there are columns enough; the rest by largest
    remainder. With nothing to draw it is all question marks: unknown is not empty.
    """
    there = [part for part in parts if part.size_bytes > 0]
    whole = max(whole_bytes or 0, sum(part.size_bytes for part in there))
    if whole == 0 or width <= 0:
        return (Piece("?" * max(width, 0), "faint"),)
    columns = _columns([part.size_bytes for part in there], whole, width)
    pieces = [Piece(part.look.glyph * n, part.look.role) for part, n in zip(there, columns, strict=True) if n]
    rest = width - sum(columns)
    return (*pieces, Piece(" " * rest)) if rest else tuple(pieces)


def _columns(sizes: list[int], whole: int, width: int) -> list[int]:
    exact = [size * width / whole for size in sizes]
    columns = [int(share) for share in exact]
    target = round(sum(exact))
    for index in sorted(range(len(sizes)), key=lambda i: columns[i] - exact[i])[: target - sum(columns)]:
        columns[index] += 1
    if len(sizes) <= width:
        for index, count in enumerate(columns):
            if count == 0:
                columns[index] = 1
    while sum(columns) > width:
        columns[columns.index(max(columns))] -= 1
    return columns
