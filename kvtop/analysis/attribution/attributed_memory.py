"""What of a plan is really there now: a server that loads or sleeps holds less than it will."""

from dataclasses import replace

from kvtop.analysis.attribution.explained_memory import EXPLAINED, is_python, planned_memory
from kvtop.domain.figure import UNKNOWN, Figure
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan
from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.registry import traits_of

HOST = "host"


def attributed_memory(reading: ServerReading, plan: MemoryPlan, name: str, *, is_shared: bool) -> Memory:
    """The plan's share of the device it calls `name`, as far as the server's state says that it is there.

    `is_shared`: the device and the host are one memory, so the host's share is added to it.
    """
    memory = planned_memory(plan, _share(plan, name, is_shared=is_shared))
    if reading.state is ServerState.LOADING:
        return _unknown("still loading: the parts cannot be distinguished yet")
    if reading.state is ServerState.SLEEPING:
        return _asleep(reading, plan, memory, name)
    return memory


def is_idle_host(reading: ServerReading, plan: MemoryPlan, name: str, *, is_shared: bool) -> bool:
    """Whether a Python engine is on this device without its model, which lies on another."""
    if not is_python(plan.engine) or _share(plan, name, is_shared=is_shared) is not None:
        return False
    says_what_sleeps = reading.sleep_level in {1, 2}
    return reading.state is not ServerState.LOADING and (reading.state is not ServerState.SLEEPING or says_what_sleeps)


def _asleep(reading: ServerReading, plan: MemoryPlan, memory: Memory, name: str) -> Memory:
    """llama.cpp unloads everything (tools/server/server-context.cpp, `handle_sleeping_state`, b11434).

    vLLM drops the pool and moves the weights to host memory (level 1) or drops them too (level 2); what its CUDA graphs
    keep is not said (0.32.0, `vllm/device_allocator/cumem.py`).
    """
    nothing = dict.fromkeys(EXPLAINED, Figure.computed(0, "asleep: given back until it wakes"))
    traits = traits_of(reading.engine)
    if traits is not None and traits.frees_all_asleep:
        return Memory.of(nothing)
    if reading.sleep_level not in {1, 2}:
        return _unknown("asleep: how much it released is not reported")
    if name != HOST:
        gone = replace(UNKNOWN, source="asleep: what CUDA graphs and buffers keep is not reported")
        return Memory.of({**nothing, Segment.COMPUTE: gone})
    weights = plan.memory[Segment.WEIGHTS]
    if reading.sleep_level == 2 or weights.value_bytes is None:
        return memory
    source = f"asleep: the weights of all ranks, moved here; {plan.rules_version} rules on this model file"
    return memory.replaced({Segment.WEIGHTS: replace(weights, source=source)})


def _unknown(source: str) -> Memory:
    return Memory.of(dict.fromkeys(EXPLAINED, replace(UNKNOWN, source=source)))


def _share(plan: MemoryPlan, name: str, *, is_shared: bool) -> DeviceShare | None:
    """What the plan puts on a device, with the host's share where both are one memory."""
    part, host = plan.device(name), plan.device(HOST) if is_shared else None
    if part is None or host is None:
        return part or host
    return DeviceShare(name, part.memory + host.memory)
