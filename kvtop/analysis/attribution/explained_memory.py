"""The memory of a server on one device before it is held against the driver: computed, reported or unknown."""

from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.engine_report import REPORTED, PoolReport, RankReport
from kvtop.domain.figure import UNKNOWN, Basis, Figure
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan
from kvtop.planning.registry import traits_of

_NONE_HERE = Figure.computed(0, "this server keeps none of it on this device")
EXPLAINED = REPORTED
"""What plans and reports speak of; the rest of a measured total is runtime and unattributed."""


def planned_memory(plan: MemoryPlan, part: DeviceShare | None) -> Memory:
    """The plan's share of a device; a device that the plan does not name holds nothing of it.

    A Python engine keeps buffers of its own there all the same, and nobody says how many.
    """
    traits = traits_of(plan.engine)
    if part is None:
        nothing = dict.fromkeys(EXPLAINED, _NONE_HERE)
        return Memory.of({**nothing, Segment.COMPUTE: UNKNOWN} if is_python(plan.engine) else nothing)
    memory = plan.likely(part).with_output_in_compute()
    if traits is None or not traits.cache_grows:
        return memory
    # What such a server holds depends on what it was asked; only its growth is known.
    grown = replace(UNKNOWN, low_bytes=0, source="grows with each request; not reported by the server")
    return memory.replaced({Segment.KV_CACHE: grown})


def is_python(engine: str) -> bool:
    """Whether its processes hold an interpreter and libraries; taken as so where nothing is known of it."""
    traits = traits_of(engine)
    return traits is None or traits.is_python


def reported_memory(
    reports: Sequence[RankReport], device_id: str, name: str = "", engine_index: int | None = None
) -> tuple[Memory, int] | None:
    """What the engine itself says of a device that its plan calls `name`, and the bytes it is rounded to.

    None when it says nothing. A report without a device is one rank's that speaks for all ranks of its engine:
    `engine_index` is the engine whose rank is on this device, None where no accelerator or no rank is.
    """
    own = [it for it in reports if it.device_id in {device_id, f"engine {name}"}]
    own = own or [it for it in reports if it.device_id is None and it.engine_index == engine_index]
    if not own:
        return None
    memory = Memory.total_of(it.memory for it in own)
    memory = Memory.of({segment: _said(figure, own[0]) for segment, figure in memory.parts})
    return memory, sum(it.rounding_bytes for it in own)


def merged(planned: Memory | None, reported: Memory | None) -> Memory | None:
    """Computed figures, and reported ones where nothing could be computed exactly."""
    if planned is None or reported is None:
        return planned or reported
    better = {
        segment: reported[segment]
        for segment, figure in planned.parts
        if figure.basis is not Basis.COMPUTED and reported[segment].value_bytes is not None
    }
    return planned.replaced(better)


def pool_used_bytes(kv_cache: Figure, pools: Sequence[PoolReport], engine_index: int | None = None) -> int | None:
    """Bytes of a block pool that hold tokens of running requests; every rank of an engine is as full as the engine.

    `engine_index` is the engine whose rank is on the device, None where all of them are.
    """
    own = [pool for pool in pools if engine_index is None or pool.engine_index == engine_index]
    shares = [pool.used_ratio * pool.usable_share for pool in own if pool.used_ratio is not None]
    if kv_cache.value_bytes is None or not shares or len(shares) < len(own):
        return None
    return round(kv_cache.value_bytes * sum(shares) / len(shares))


def _said(figure: Figure, report: RankReport) -> Figure:
    """The sum of several reports, by the first of them; nothing of it where one does not say it."""
    return (
        UNKNOWN
        if figure.value_bytes is None
        else Figure(figure.value_bytes, Basis.REPORTED, source=report.source or "the engine's own figure")
    )
