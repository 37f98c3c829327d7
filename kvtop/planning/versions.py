"""Which version of an engine a plan is for, and what its rules are worth there.

Rules hold for ranges of versions that were checked against the engine itself. Outside them a plan is an estimate by
type: every figure has a range, and the reason stands beside it.
"""

import re
from dataclasses import dataclass, replace
from itertools import zip_longest

from kvtop.domain.figure import Figure
from kvtop.domain.memory import Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan

_NUMBERS = re.compile(r"[bv]?(\d{1,9}(?:\.\d{1,9}){0,3})(?![\d.])")
"""At the start of "b11434-5ebf41ce", "v0.32.0", "0.32.0+cpu", "11434 (abc)"."""

WEIGHTS_RATIO, CACHE_RATIO, COMPUTE_RATIO = 0.02, 0.25, 1.0
"""How far a figure of another version may be off, as a share of it. Tensors are the file's own; layouts of caches
change seldom (sliding windows, padding, streams), graphs every few months."""
_RATIOS = {
    Segment.WEIGHTS: WEIGHTS_RATIO,
    Segment.KV_CACHE: CACHE_RATIO,
    Segment.RECURRENT: CACHE_RATIO,
}


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions with the same rules, both ends included. `evidence` says how that was checked."""

    first: str
    last: str
    evidence: str = ""

    def __post_init__(self) -> None:
        if version_numbers(self.first) is None or version_numbers(self.last) is None:
            raise ValueError(f"a range of versions has numbers, not {self.first!r} and {self.last!r}")

    def holds(self, version: str) -> bool:
        """Whether a version is in the range; False for a text that is no version."""
        numbers = version_numbers(version)
        first, last = version_numbers(self.first), version_numbers(self.last)
        return numbers is not None and first is not None and last is not None and first <= numbers <= last


@dataclass(frozen=True, slots=True)
class ChosenRange:
    """The range whose rules are used for a version. `is_checked` False: the version lies outside of it."""

    range: VersionRange
    version: str | None
    is_checked: bool
    neighbours: tuple[VersionRange, VersionRange] | None = None
    """The checked ranges that an unchecked version lies between."""

    @property
    def verdict(self) -> str:
        """What a plan of an unchecked version is worth."""
        if self.neighbours is not None:
            return f"{self.reason}: exact where both agree, else the span of both"
        return f"{self.reason}: every figure is an estimate"

    @property
    def reason(self) -> str:
        """Why a plan is an estimate, or ""."""
        if self.is_checked:
            return ""
        if self.neighbours is not None:
            older, newer = self.neighbours
            return f"{self.version} lies between {older.last} and {newer.first}, which were checked"
        spans = self.range.last if self.range.first == self.range.last else f"{self.range.first} to {self.range.last}"
        return f"rules of {spans}, not validated for {self.version}"


def version_numbers(text: str | None) -> tuple[int, ...] | None:
    """(0, 32, 0) of "0.32.0+cpu", (11434,) of "b11434-5ebf41ce"; None for anything else."""
    found = _NUMBERS.match((text or "").strip())
    return None if found is None else tuple(map(int, found[1].split(".")))


def chosen_range(ranges: tuple[VersionRange, ...], version: str | None) -> ChosenRange:
    """The range that holds a version, else the nearest one; without a version, or with an unreadable one, the newest.

    `ranges` are in order, the oldest first, and never empty. A version that nobody knows counts as checked: the newest
    rules are then what was asked for. One that cannot be read does not.
    """
    newest = ranges[-1]
    if version is None:
        return ChosenRange(newest, None, is_checked=True)
    numbers = version_numbers(version)
    if numbers is None:
        return ChosenRange(newest, version, is_checked=False)
    if not any(numbers):  # built from an archive without its history ("b0-unknown"): the version is not known
        return ChosenRange(newest, None, is_checked=True)
    for each in reversed(ranges):
        if each.holds(version):
            return ChosenRange(each, version, is_checked=True)
    nearest = min(reversed(ranges), key=lambda each: _distance(each, numbers))
    older = [each for each in ranges if (version_numbers(each.last) or ()) < numbers]
    newer = [each for each in ranges if (version_numbers(each.first) or ()) > numbers]
    neighbours = (older[-1], newer[0]) if older and newer else None
    return ChosenRange(nearest, version, is_checked=False, neighbours=neighbours)


def _distance(each: VersionRange, numbers: tuple[int, ...]) -> tuple[int, ...]:
    """How far a version lies from the nearer end of a range, number by number."""
    ends = (version_numbers(each.first) or (), version_numbers(each.last) or ())
    return min(tuple(abs(a - b) for a, b in zip_longest(end, numbers, fillvalue=0)) for end in ends)


def spanning(older: MemoryPlan, newer: MemoryPlan, nearest: MemoryPlan, reason: str) -> MemoryPlan:
    """The nearest version's plan, exact where both neighbours say the same; elsewhere its range holds both.

    Where the neighbours have different devices it is an estimate throughout.
    """
    sides = [{part.name: part for part in plan.devices} for plan in (older, newer)]
    if any(side.keys() != {part.name for part in nearest.devices} for side in sides):
        return as_estimate(nearest, reason)
    spans = []
    for part in nearest.devices:
        one, other = (side[part.name].memory for side in sides)
        both = {segment: _span(part.memory[segment], (one[segment], other[segment]), reason) for segment in part.memory}
        spans.append(replace(part, memory=part.memory.replaced(both)))
    return replace(nearest, devices=tuple(spans))


def _span(figure: Figure, sides: tuple[Figure, Figure], reason: str) -> Figure:
    known = [it for it in (figure, *sides) if it.value_bytes is not None]
    if len(known) < len(sides) + 1 or all(it.value_bytes == figure.value_bytes for it in known):
        return figure
    low, high = min(it.least_bytes for it in known), max(it.most_bytes or 0 for it in known)
    return Figure.estimated(figure.value_bytes or 0, low, high, f"{figure.source}; {reason}")


def as_estimate(plan: MemoryPlan, reason: str) -> MemoryPlan:
    """The same plan with a range around every figure, for a version that its rules were not checked on."""
    return replace(plan, devices=tuple(_widened(part, reason) for part in plan.devices))


def _widened(part: DeviceShare, reason: str) -> DeviceShare:
    memory, compute = part.memory, part.memory[Segment.COMPUTE]
    wider = {segment: _wider(memory[segment], ratio, reason) for segment, ratio in _RATIOS.items()}
    if compute.most_bytes:
        wider[Segment.COMPUTE] = replace(_wider(compute, COMPUTE_RATIO, ""), source=compute.source)
    return replace(part, memory=memory.replaced(wider))


def _wider(figure: Figure, ratio: float, reason: str) -> Figure:
    """As much more above, and as many times less below: half to double for a ratio of 1. Unknown stays unknown."""
    if figure.value_bytes is None:
        return figure
    low, high = int(figure.least_bytes / (1 + ratio)), -int(-(figure.most_bytes or 0) * (1 + ratio) // 1)
    return Figure.estimated(figure.value_bytes, low, high, f"{figure.source}; {reason}")
