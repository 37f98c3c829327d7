"""A plan on devices whose rules are not all known: its figures become ranges between the least and the most."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvtop.domain.plan import DevicePlan, Estimate, InexactParts, MemoryPlan


@dataclass(frozen=True, slots=True)
class Held:
    """What a device holds at one end of the range. Compute buffers have a range of their own."""

    weights_bytes: int
    kv_cache_bytes: int
    recurrent_bytes: int


def with_ranges(
    plan: MemoryPlan, least: Mapping[str, Held], most: Mapping[str, Held], *, reasons: Mapping[str, str]
) -> MemoryPlan:
    """The plan with ranges on the devices of `reasons` (why, by name), from the same plan at both ends of rounding."""
    parts = (
        _ranged(part, least[part.name], most[part.name], reasons[part.name]) if part.name in reasons else part
        for part in plan.devices
    )
    return replace(plan, devices=tuple(parts))


def _ranged(part: DevicePlan, low: Held, high: Held, reason: str) -> DevicePlan:
    ranges = InexactParts(
        weights=Estimate(part.weights_bytes or 0, low.weights_bytes, high.weights_bytes),
        kv_cache=Estimate(part.kv_cache_bytes or 0, low.kv_cache_bytes, high.kv_cache_bytes),
        recurrent_state=Estimate(part.recurrent_state_bytes, low.recurrent_bytes, high.recurrent_bytes),
        reason=reason,
    )
    return replace(part, inexact=ranges)
