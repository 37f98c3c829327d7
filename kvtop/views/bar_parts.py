"""The parts of a bar, in drawing order: one device's bytes, or one server's, on every screen and in every picture."""

from dataclasses import dataclass

from kvtop.domain.figure import Figure
from kvtop.domain.frame import DeviceView, Split
from kvtop.domain.memory import Segment
from kvtop.views.segment_table import FREE, KV_RESERVED, KV_USED, LOOKS, OTHER, SEGMENT_TABLE, Look


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of one look. `is_partial`: something in it is unknown, so there is more than is shown."""

    look: Look
    size_bytes: int
    is_partial: bool = False


def split_parts(splits: tuple[Split, ...]) -> tuple[Part, ...]:
    """Bytes by look over several splits, in drawing order, without free and other.

    A KV cache of known size and unknown use counts as reserved. A negative residual has no width: it counts as 0 here
    and is printed as it is in the ledger.
    """
    total = dict.fromkeys(LOOKS, 0)
    partial: set[Look] = set()

    def add(look: Look, figure: Figure) -> None:
        if figure.value_bytes is None:
            partial.add(look)
        else:
            total[look] += max(figure.value_bytes, 0)

    for split in splits:
        for segment, figure in split.memory.parts:
            add(SEGMENT_TABLE[segment].look, figure)
        cache_bytes = split.memory.bytes_of(Segment.KV_CACHE)
        if cache_bytes is not None and split.kv_used_bytes is not None:
            used = min(split.kv_used_bytes, cache_bytes)
            total[KV_USED] += used
            total[KV_RESERVED] -= used
        elif cache_bytes:
            partial.add(KV_USED)
    return tuple(Part(look, total[look], look in partial) for look in LOOKS if look not in (OTHER, FREE))


def device_parts(view: DeviceView) -> tuple[Part, ...]:
    """All looks of one device. Used bytes that nobody accounts for are unattributed, never spread around."""
    *parts, last = split_parts(tuple(split for _, split in view.splits))
    unattributed = Part(last.look, last.size_bytes + view.unaccounted_bytes, last.is_partial)
    free = view.free_bytes
    others = Part(OTHER, view.beside_bytes, None in (view.other_bytes, view.elsewhere_bytes))
    return (*parts, unattributed, others, Part(FREE, free or 0, free is None))
