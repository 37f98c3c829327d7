"""The parts of a server on one device before they are held against the driver: computed, reported or unknown."""

from collections.abc import Sequence
from dataclasses import dataclass

from kvtop.domain.engine_report import MemoryReport, PoolReport
from kvtop.domain.figure import UNKNOWN, Basis, Figure
from kvtop.domain.plan import DevicePlan, Estimate, MemoryPlan
from kvtop.planning.registry import traits_of

_NONE_HERE = "this server keeps none of it on this device"


@dataclass(frozen=True, slots=True)
class Parts:
    """What is known of one server on one device. `is_idle_host`: its model lies on an accelerator, not here."""

    weights: Figure = UNKNOWN
    kv_cache: Figure = UNKNOWN
    recurrent: Figure = UNKNOWN
    compute: Figure = UNKNOWN
    is_idle_host: bool = False
    is_python: bool = False
    rounding_bytes: int = 0
    """Of reported figures: the truth is within half of it."""


def planned_parts(plan: MemoryPlan, part: DevicePlan | None) -> Parts:
    """The plan's share of a device; a device that the plan does not name holds nothing of it."""
    rule = f"{plan.rules_version} allocation rules on this model file"
    traits = traits_of(plan.engine)
    python = traits is None or traits.is_python
    if part is None:
        zero = Figure(0, Basis.COMPUTED, source=_NONE_HERE)
        return Parts(zero, zero, zero, UNKNOWN if python else zero, is_idle_host=python, is_python=python)
    inexact = part.inexact
    if inexact is not None:
        source = f"{rule}; {inexact.reason}"
        weights = UNKNOWN if part.weights_bytes is None else _estimated(inexact.weights, source)
        cache = _kv_cache(plan, part, rule)
        return Parts(
            weights,
            cache
            if cache.basis is not Basis.COMPUTED or inexact.kv_cache.is_exact
            else _estimated(inexact.kv_cache, source),
            _estimated(inexact.recurrent_state, source),
            _compute(plan, part, rule),
            is_python=python,
        )
    return Parts(
        _computed(part.weights_bytes, rule),
        _kv_cache(plan, part, rule),
        _computed(part.recurrent_state_bytes, rule),
        _compute(plan, part, rule),
        is_python=python,
    )


def reported_parts(
    reports: Sequence[MemoryReport], device_id: str, name: str = "", engine_index: int | None = None
) -> Parts | None:
    """What the engine itself says of a device that its plan calls `name`; None when it says nothing.

    A report without a device is one rank's that speaks for all ranks of its engine: `engine_index` is the engine whose
    rank is on this device, None where no accelerator or no rank is.
    """
    own = [it for it in reports if it.device_id in {device_id, f"engine {name}"}]
    own = own or [it for it in reports if it.device_id is None and it.engine_index == engine_index]
    if not own:
        return None
    return Parts(
        _reported(own, "weights_bytes"),
        _reported(own, "kv_cache_bytes"),
        _reported(own, "recurrent_bytes"),
        _reported(own, "graph_bytes"),
        rounding_bytes=sum(it.rounding_bytes for it in own),
    )


def merged(planned: Parts | None, reported: Parts | None) -> Parts | None:
    """Computed figures, and reported ones where nothing could be computed exactly."""
    if planned is None or reported is None:
        return planned or reported

    def first(one: Figure, other: Figure) -> Figure:
        return one if one.basis is Basis.COMPUTED or other.value_bytes is None else other

    return Parts(
        first(planned.weights, reported.weights),
        first(planned.kv_cache, reported.kv_cache),
        first(planned.recurrent, reported.recurrent),
        first(planned.compute, reported.compute),
        planned.is_idle_host,
        planned.is_python,
    )


def pool_used_bytes(kv_cache: Figure, pools: Sequence[PoolReport], engine_index: int | None = None) -> int | None:
    """Bytes of a block pool that hold tokens of running requests; every rank of an engine is as full as the engine.

    `engine_index` is the engine whose rank is on the device, None where all of them are.
    """
    own = [pool for pool in pools if engine_index is None or pool.engine_index == engine_index]
    shares = [pool.used_ratio * pool.usable_share for pool in own if pool.used_ratio is not None]
    if kv_cache.value_bytes is None or not shares or len(shares) < len(own):
        return None
    return round(kv_cache.value_bytes * sum(shares) / len(shares))


def _reported(reports: Sequence[MemoryReport], name: str) -> Figure:
    sizes = [getattr(it, name) for it in reports]
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes):
        return UNKNOWN
    return Figure(sum(known), Basis.REPORTED, source=reports[0].source or "the engine's own figure")


def _computed(size_bytes: int | None, rule: str) -> Figure:
    return UNKNOWN if size_bytes is None else Figure(size_bytes, Basis.COMPUTED, source=rule)


def _estimated(amount: Estimate, source: str) -> Figure:
    return Figure(amount.value_bytes, Basis.ESTIMATED, amount.low_bytes, amount.high_bytes, source)


def _kv_cache(plan: MemoryPlan, part: DevicePlan, rule: str) -> Figure:
    traits = traits_of(plan.engine)
    if traits is not None and traits.cache_grows:
        # What such a server holds depends on what it was asked; only its growth is known.
        return Figure(None, Basis.UNKNOWN, low_bytes=0, source="grows with each request; not reported by the server")
    if part.kv_cache_bytes is not None:
        return Figure(part.kv_cache_bytes, Basis.COMPUTED, source=rule)
    likely = plan.vllm.pool_estimate if plan.vllm is not None else None
    if likely is None:
        return UNKNOWN
    pool = likely.pool
    source = "the rest of --gpu-memory-utilization after weights and activations"
    return Figure(pool.value_bytes, Basis.ESTIMATED, pool.low_bytes, pool.high_bytes, source)


def _compute(plan: MemoryPlan, part: DevicePlan, rule: str) -> Figure:
    """Scratch buffers of the graph, and the logits that the engine keeps beside them (exact, small)."""
    if not plan.is_compute_known:
        return UNKNOWN
    total = part.compute + Estimate(part.output_bytes, part.output_bytes, part.output_bytes)
    if total.low_bytes == total.high_bytes:
        return Figure(total.value_bytes, Basis.COMPUTED, source=rule)
    traits = traits_of(plan.engine)
    source = traits.compute_source if traits is not None else ""
    return Figure(total.value_bytes, Basis.ESTIMATED, total.low_bytes, total.high_bytes, source)
