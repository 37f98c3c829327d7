"""A plan of what is likely, with the range of others that are possible too."""

from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.figure import Figure
from kvtop.domain.memory import Memory
from kvtop.domain.plan import DeviceShare, MemoryPlan


def spanned(plan: MemoryPlan, others: Sequence[MemoryPlan], reason: str) -> MemoryPlan:
    """The plan with every figure that differs in `others` as an estimate over all of them; `reason` says why."""
    if not others:
        return plan
    return replace(plan, devices=tuple(_part(part, others, reason) for part in plan.devices))


def _part(part: DeviceShare, others: Sequence[MemoryPlan], reason: str) -> DeviceShare:
    memories = [found.memory for other in others if (found := other.device(part.name)) is not None]
    if not memories:
        return part
    wider = {segment: _span(part.memory[segment], [it[segment] for it in memories], reason) for segment in part.memory}
    return replace(part, memory=Memory.of(wider))


def _span(figure: Figure, others: Sequence[Figure], reason: str) -> Figure:
    high = figure.most_bytes
    highs = [it.most_bytes for it in others]
    if figure.value_bytes is None or high is None or None in highs:
        return figure
    low = min(figure.least_bytes, *(it.least_bytes for it in others))
    most = max(high, *(it for it in highs if it is not None))
    if (low, most) == (figure.least_bytes, high):
        return figure
    return Figure.estimated(figure.value_bytes, low, most, f"{figure.source}; {reason}" if figure.source else reason)
