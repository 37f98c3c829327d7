"""Memory by segment: the one form in which an amount is planned, attributed, compared and drawn."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from kvtop.domain.figure import NOTHING, UNKNOWN, Figure


class Segment(StrEnum):
    """What memory is for, in the order in which it is drawn. The values are the words of every export."""

    WEIGHTS = "weights"
    KV_CACHE = "kv_cache"
    RECURRENT = "recurrent_state"
    COMPUTE = "compute"
    OUTPUT = "output"
    """Logits that an engine keeps beside its compute buffers; what is measured counts them among COMPUTE."""
    RUNTIME = "runtime"
    UNATTRIBUTED = "unattributed"


_ORDER = tuple(Segment)
CACHES = (Segment.KV_CACHE, Segment.RECURRENT)


@dataclass(frozen=True, slots=True)
class Memory:
    """Segments with their figures, in drawing order. Make one with `Memory.of`.

    A segment that is not listed is not spoken of: it reads as unknown and counts in no total. Unknown is never 0: the
    total of a Memory with an unknown segment is unknown, and `known` says how much of it is not.
    """

    parts: tuple[tuple[Segment, Figure], ...] = ()

    @classmethod
    def of(cls, figures: Mapping[Segment, Figure]) -> Self:
        """A Memory of these segments."""
        return cls(tuple((segment, figures[segment]) for segment in _ORDER if segment in figures))

    @classmethod
    def total_of(cls, memories: Iterable[Self]) -> Self:
        """The sum by segment; of none, a Memory that speaks of nothing."""
        found = cls()
        for each in memories:
            found += each
        return found

    def __iter__(self) -> Iterator[Segment]:
        return (segment for segment, _ in self.parts)

    def __getitem__(self, segment: Segment) -> Figure:
        return next((figure for name, figure in self.parts if name is segment), UNKNOWN)

    def bytes_of(self, *segments: Segment) -> int | None:
        """The value of these segments together; None where one of them is unknown."""
        return _sum(self[segment] for segment in segments).value_bytes

    def __add__(self, other: Self) -> Self:
        """The sum by segment: what only one of both speaks of stays as it is."""
        both = dict(self.parts)
        for segment, figure in other.parts:
            both[segment] = both[segment] + figure if segment in both else figure
        return self.of(both)

    def __sub__(self, other: Self) -> Self:
        """The difference of the segments that both speak of."""
        return self.of({segment: figure - other[segment] for segment, figure in self.parts if segment in set(other)})

    def replaced(self, figures: Mapping[Segment, Figure]) -> Self:
        """With other figures for these segments, listed before or not."""
        return self.of({**dict(self.parts), **figures})

    def without(self, *segments: Segment) -> Self:
        """All segments but these."""
        return type(self)(tuple(part for part in self.parts if part[0] not in segments))

    def with_output_in_compute(self) -> Self:
        """As a measurement can tell them apart: the output buffer is a part of COMPUTE."""
        rest = self.without(Segment.OUTPUT)
        if Segment.OUTPUT not in set(self):
            return rest
        compute, output = self[Segment.COMPUTE], self[Segment.OUTPUT]
        both = output if compute.is_nothing else replace(compute + output, source=compute.source)
        return rest.replaced({Segment.COMPUTE: both})

    @property
    def total(self) -> Figure:
        """All segments together; unknown where one of them is, with what is known as its low end."""
        return _sum(figure for _, figure in self.parts)

    @property
    def known(self) -> Figure:
        """The segments that are known, together: less than the total where one of them is not."""
        return _sum(figure for _, figure in self.parts if figure.value_bytes is not None)

    @property
    def is_whole(self) -> bool:
        """Whether every segment is known."""
        return all(figure.value_bytes is not None for _, figure in self.parts)


def _sum(figures: Iterable[Figure]) -> Figure:
    first, *rest = (*figures,) or (NOTHING,)
    for figure in rest:
        first += figure
    return first
