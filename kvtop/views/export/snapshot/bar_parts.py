"""The coloured parts of a bar in a picture: one device's bytes, or one server's, in drawing order."""

from dataclasses import dataclass

from kvtop.domain.figure import Figure
from kvtop.domain.frame import DeviceView, Split
from kvtop.domain.memory import Segment


@dataclass(frozen=True, slots=True)
class Paint:
    """A colour with its word. The colours are those of the theme "dark"."""

    word: str
    colour: str


WEIGHTS = Paint("weights", "#6a8fe8")
KV_USED = Paint("KV used", "#4fd1a1")
KV_RESERVED = Paint("KV reserved", "#2b7a61")
RECURRENT = Paint("recurrent", "#bb9af7")
COMPUTE = Paint("compute", "#e0af68")
RUNTIME = Paint("runtime", "#8da2bd")
UNATTRIBUTED = Paint("unattributed", "#e8839b")
OTHER = Paint("other", "#737b8c")
FREE = Paint("free", "#252b38")
PAINTS = (WEIGHTS, KV_USED, KV_RESERVED, RECURRENT, COMPUTE, RUNTIME, UNATTRIBUTED, OTHER, FREE)
_OF_SEGMENT = {
    Segment.WEIGHTS: WEIGHTS,
    Segment.KV_CACHE: KV_RESERVED,
    Segment.RECURRENT: RECURRENT,
    Segment.COMPUTE: COMPUTE,
    Segment.RUNTIME: RUNTIME,
    Segment.UNATTRIBUTED: UNATTRIBUTED,
}


@dataclass(frozen=True, slots=True)
class PaintedPart:
    """Bytes of one colour; never negative."""

    paint: Paint
    size_bytes: int


def split_parts(splits: tuple[Split, ...]) -> tuple[PaintedPart, ...]:
    """The segments of several splits by colour; unknown ones and a negative residual have no width."""
    total = dict.fromkeys(PAINTS, 0)
    for split in splits:
        for segment, figure in split.memory.parts:
            total[_OF_SEGMENT[segment]] += _width(figure)
        used = min(split.kv_used_bytes or 0, _width(split.memory[Segment.KV_CACHE]))
        total[KV_USED] += used
        total[KV_RESERVED] -= used
    return tuple(PaintedPart(paint, size) for paint, size in total.items() if size > 0)


def device_parts(view: DeviceView) -> tuple[PaintedPart, ...]:
    """What fills one device: its servers, what nobody accounts for, everybody else, and what is free."""
    sizes = {part.paint: part.size_bytes for part in split_parts(tuple(split for _, split in view.splits))}
    sizes[UNATTRIBUTED] = sizes.get(UNATTRIBUTED, 0) + view.unaccounted_bytes
    sizes[OTHER], sizes[FREE] = view.beside_bytes, view.free_bytes or 0
    return tuple(PaintedPart(paint, sizes[paint]) for paint in PAINTS if sizes.get(paint, 0) > 0)


def _width(figure: Figure) -> int:
    return max(figure.value_bytes or 0, 0)
