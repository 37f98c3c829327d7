"""What of a plan is really there now: a server that loads or sleeps holds less than it will."""

from dataclasses import replace

from kvtop.analysis.attribution.segments import Parts, planned_parts
from kvtop.domain.figure import Basis, Figure
from kvtop.domain.plan import DevicePlan, Estimate, MemoryPlan
from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.registry import traits_of

HOST = "host"


def attributed_parts(reading: ServerReading, plan: MemoryPlan, name: str, *, is_shared: bool) -> Parts:
    """The plan's share of the device it calls `name`, as far as the server's state says that it is there.

    `is_shared`: the device and the host are one memory, so the host's share is added to it.
    """
    part = plan.device(name)
    if is_shared:
        part = _joined(name, part, plan.device(HOST))
    parts = planned_parts(plan, part)
    if reading.state is ServerState.LOADING:
        return _unknown(parts, "still loading: the parts cannot be distinguished yet")
    if reading.state is ServerState.SLEEPING:
        return _asleep(reading, plan, parts, name)
    return parts


def _asleep(reading: ServerReading, plan: MemoryPlan, parts: Parts, name: str) -> Parts:
    """llama.cpp unloads everything (tools/server/server-context.cpp, `handle_sleeping_state`, b11434).

    vLLM drops the pool and moves the weights to host memory (level 1) or drops them too (level 2); what its CUDA graphs
    keep is not said (0.32.0, `vllm/device_allocator/cumem.py`).
    """
    nothing = Figure(0, Basis.COMPUTED, source="asleep: given back until it wakes")
    traits = traits_of(reading.engine)
    if traits is not None and traits.frees_all_asleep:
        return Parts(nothing, nothing, nothing, nothing)
    if reading.sleep_level not in {1, 2}:
        return _unknown(parts, "asleep: how much it released is not reported")
    if name != HOST:
        gone = Figure(None, Basis.UNKNOWN, source="asleep: what CUDA graphs and buffers keep is not reported")
        return replace(parts, weights=nothing, kv_cache=nothing, recurrent=nothing, compute=gone)
    if reading.sleep_level == 2:
        return parts
    weights = [it.weights_bytes for it in plan.devices]
    known = [size for size in weights if size is not None]
    if len(known) < len(weights):
        return parts
    source = f"asleep: the weights of all ranks, moved here; {plan.rules_version} rules on this model file"
    return replace(parts, weights=Figure(sum(known), Basis.COMPUTED, source=source))


def _unknown(parts: Parts, source: str) -> Parts:
    figure = Figure(None, Basis.UNKNOWN, source=source)
    return replace(parts, weights=figure, kv_cache=figure, recurrent=figure, compute=figure, is_idle_host=False)


def _joined(name: str, one: DevicePlan | None, other: DevicePlan | None) -> DevicePlan | None:
    """Both shares as one."""
    if one is None or other is None:
        return one or other

    def sum_of(left: int | None, right: int | None) -> int | None:
        return None if left is None or right is None else left + right

    return DevicePlan(
        name,
        sum_of(one.weights_bytes, other.weights_bytes),
        sum_of(one.kv_cache_bytes, other.kv_cache_bytes),
        one.recurrent_state_bytes + other.recurrent_state_bytes,
        one.compute + other.compute if other.compute != Estimate(0, 0, 0) else one.compute,
        one.output_bytes + other.output_bytes,
    )
