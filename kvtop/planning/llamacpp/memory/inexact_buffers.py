"""A plan on devices whose rules are not all known: its figures become ranges between the least and the most."""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.domain.figure import Figure
from kvtop.domain.memory import Memory
from kvtop.domain.plan import DeviceShare, MemoryPlan


def with_ranges(
    plan: MemoryPlan, least: Mapping[str, Memory], most: Mapping[str, Memory], *, reasons: Mapping[str, str]
) -> MemoryPlan:
    """The plan with ranges on the devices of `reasons` (why, by name), from the same plan at both ends of rounding."""
    parts = (
        _ranged(part, least[part.name], most[part.name], reasons[part.name]) if part.name in reasons else part
        for part in plan.devices
    )
    return replace(plan, devices=tuple(parts))


def _ranged(part: DeviceShare, low: Memory, high: Memory, reason: str) -> DeviceShare:
    """Ranges of the segments that both ends speak of: compute buffers have one of their own."""
    ranges = {}
    for segment in low:
        figure, least, most = part.memory[segment], low.bytes_of(segment), high.bytes_of(segment)
        if figure.value_bytes is not None and least is not None and most is not None:
            ranges[segment] = Figure.estimated(figure.value_bytes, least, most, f"{figure.source}; {reason}")
    return replace(part, memory=part.memory.replaced(ranges))
