"""A plan on buffers whose rounding is not known: its figures become ranges between the least and the most of it."""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.domain.plan import DevicePlan, Estimate, InexactParts, MemoryPlan


def with_ranges(plan: MemoryPlan, least: MemoryPlan, most: MemoryPlan, *, inexact: Mapping[str, str]) -> MemoryPlan:
    """The plan with ranges on the devices of `inexact` (name: compute API), from the same plan at both ends."""
    ends = zip(plan.devices, least.devices, most.devices, strict=True)
    parts = (_ranged(part, low, high, inexact.get(part.name)) for part, low, high in ends)
    return replace(plan, devices=tuple(parts))


def _ranged(part: DevicePlan, low: DevicePlan, high: DevicePlan, api: str | None) -> DevicePlan:
    if api is None:
        return part
    ranges = InexactParts(
        weights=_range(part.weights_bytes, low.weights_bytes, high.weights_bytes),
        kv_cache=_range(part.kv_cache_bytes, low.kv_cache_bytes, high.kv_cache_bytes),
        recurrent_state=_range(part.recurrent_state_bytes, low.recurrent_state_bytes, high.recurrent_state_bytes),
        reason=f"how {api} buffers round tensor sizes is not known",
    )
    compute = Estimate(
        part.compute.value_bytes,
        min(part.compute.low_bytes, low.compute.low_bytes),
        max(part.compute.high_bytes, high.compute.high_bytes),
    )
    return replace(part, compute=compute, inexact=ranges)


def _range(value: int | None, low: int | None, high: int | None) -> Estimate:
    return Estimate(value or 0, low or 0, high or 0)
