"""A plan on devices whose rules are not all known: its figures become ranges between the least and the most."""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.domain.plan import DevicePlan, Estimate, InexactParts, MemoryPlan


def with_ranges(plan: MemoryPlan, least: MemoryPlan, most: MemoryPlan, *, reasons: Mapping[str, str]) -> MemoryPlan:
    """The plan with ranges on the devices of `reasons` (why, by name), from the same plan at both ends of rounding."""
    ends = zip(plan.devices, least.devices, most.devices, strict=True)
    parts = (_ranged(part, low, high, reasons.get(part.name)) for part, low, high in ends)
    return replace(plan, devices=tuple(parts))


def _ranged(part: DevicePlan, low: DevicePlan, high: DevicePlan, reason: str | None) -> DevicePlan:
    if reason is None:
        return part
    ranges = InexactParts(
        weights=_range(part.weights_bytes, low.weights_bytes, high.weights_bytes),
        kv_cache=_range(part.kv_cache_bytes, low.kv_cache_bytes, high.kv_cache_bytes),
        recurrent_state=_range(part.recurrent_state_bytes, low.recurrent_state_bytes, high.recurrent_state_bytes),
        reason=reason,
    )
    compute = Estimate(
        part.compute.value_bytes,
        min(part.compute.low_bytes, low.compute.low_bytes),
        max(part.compute.high_bytes, high.compute.high_bytes),
    )
    return replace(part, compute=compute, inexact=ranges)


def _range(value: int | None, low: int | None, high: int | None) -> Estimate:
    return Estimate(value or 0, low or 0, high or 0)
