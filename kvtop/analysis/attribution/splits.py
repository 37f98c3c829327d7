"""Who holds what: one server's measured bytes on one device, divided into segments that add up to them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvtop.analysis.attribution.explained_memory import EXPLAINED
from kvtop.domain.device import Device
from kvtop.domain.figure import UNKNOWN, Basis, Figure
from kvtop.domain.frame import Split
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.plan import DeviceShare, HostGrowth, MemoryPlan
from kvtop.domain.process import Process
from kvtop.domain.server import Slot
from kvtop.text import bytes_text

_MIB = 1024 * 1024

RESIDENT_PRIOR = Figure.estimated(40 * _MIB, 15 * _MIB, 80 * _MIB)
"""Code, libraries and allocator of a llama-server process on Linux: RssFile beyond the mapped model plus thread stacks,
20 to 60 MiB in the recorded processes of b11434."""
PYTHON_PRIOR = Figure.estimated(80 * _MIB, 60 * _MIB, 200 * _MIB)
"""A Python engine in host memory: mlx_lm.server 0.32.2 on Linux has 94 MB resident with 12 MB of weights."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process takes on a device before it holds a model; None where nobody knows or nobody measures.

    `is_resident_set`: the measured total is a resident set in host memory, interpreter and libraries included.
    """

    prior: Figure | None = None
    is_resident_set: bool = False


NO_RUNTIME = Runtime()


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How full a cache is: (kind, share 0..1 of that kind's cells that hold tokens)."""

    shares: tuple[tuple[str, float], ...]

    def used_bytes(self, plan: MemoryPlan, on_device: DeviceShare) -> int | None:
        """Bytes of the KV cache on that device that hold tokens now; None where a kind's use is unknown."""
        cache_bytes = on_device.memory.bytes_of(Segment.KV_CACHE)
        if cache_bytes is None:
            return None
        growing = [part for part in plan.cache_parts if part.cells is not None]
        total_bytes = sum(part.size_bytes for part in growing)
        if total_bytes == 0:
            return 0
        share_of = dict(self.shares)
        if any(part.kind not in share_of for part in growing):
            return None
        weighted = sum(part.size_bytes * share_of[part.kind] for part in growing)
        return round(cache_bytes * weighted / total_bytes)


def cache_use(plan: MemoryPlan, slots: tuple[Slot, ...] | None) -> CacheUse | None:
    """Share of each kind of cache that holds tokens; None when the slots do not say.

    A sequence occupies as many cells as it has tokens, and never more than the cells of one stream: a sliding-window
    cache is full once its window is (src/llama-kv-cache-iswa.cpp, b11434). Slots that share a prefix under a unified
    cache share its cells, so the sum is an upper bound there.
    """
    if slots is None or plan.context is None:
        return None
    used_tokens = [slot.used_tokens for slot in slots]
    held = [tokens for tokens in used_tokens if tokens is not None]
    if len(held) != len(used_tokens):
        return None
    streams = 1 if plan.context.kv_unified else plan.context.n_seq_max
    shares = []
    for part in plan.cache_parts:
        if part.cells:
            occupied = sum(min(tokens, part.cells) for tokens in held)
            shares.append((part.kind, min(1.0, occupied / (part.cells * streams))))
    return CacheUse(tuple(shares))


def driver_bytes(device: Device, pids: frozenset[int], processes: Mapping[int, Process]) -> Figure | None:
    """The measured total of these processes on a device; None when they are not on it.

    For host memory that is the resident set (PSS where the kernel offers it would split shared pages, but costs a walk
    of all mappings, so RSS is the figure). An N/A from the driver makes the total unknown, never smaller.
    """
    if device.is_host:
        known = [processes[pid].rss_bytes for pid in pids if pid in processes]
        resident = [size for size in known if size is not None]
        if not resident:
            return None
        noun = "resident set of its process"
        if len(resident) > 1:
            noun = f"resident sets of {len(resident)} processes, pages they share counted for each"
        return Figure(sum(resident), Basis.MEASURED, source=f"{noun}, as the kernel counts it")
    rows = [row for row in device.processes or () if row.pid in pids]
    if not rows:
        return None
    sizes = [row.used_bytes for row in rows]
    if any(size is None for size in sizes):
        return Figure(None, Basis.UNKNOWN, source="the driver lists the process but not its memory")
    # An exporter of whole cards lists a pod with bytes only where it is alone on its card.
    share = "per process" if device.driver.lists_processes else "the whole card"
    used_bytes = sum(size for size in sizes if size is not None)
    return Figure(used_bytes, Basis.MEASURED, source=f"{device.driver.said_by}, {share}")


def split_on(
    device_id: str,
    driver: Figure,
    memory: Memory | None,
    runtime: Runtime = NO_RUNTIME,
    kv_used_bytes: int | None = None,
    *,
    is_idle_host: bool = False,
) -> Split:
    """Divide `driver` into segments. What cannot be explained stays in UNATTRIBUTED, never spread around.

    `memory` is what is known of the segments in EXPLAINED; None: nothing. `is_idle_host`: a Python engine's model lies
    on an accelerator, not here.
    """
    if memory is None:
        unknown = dict.fromkeys((*EXPLAINED, Segment.RUNTIME), UNKNOWN)
        return Split(device_id, driver, Memory.of({**unknown, Segment.UNATTRIBUTED: _residual(driver, Memory())}))
    prior, cache = runtime.prior, memory[Segment.KV_CACHE]
    compute = _within(memory[Segment.COMPUTE], _left(driver, memory.without(Segment.COMPUTE)), prior)
    memory = memory.replaced({Segment.COMPUTE: compute})
    left = _left(driver, memory)
    held = _host_of_a_card(left) if is_idle_host and runtime.is_resident_set else _runtime(prior, left)
    memory = memory.replaced({Segment.KV_CACHE: _bounded(cache, left, prior), Segment.RUNTIME: held})
    memory = memory.replaced({Segment.UNATTRIBUTED: _residual(driver, memory)})
    return Split(device_id, driver, memory, kv_used_bytes)


def with_host_growth(split: Split, growth: HostGrowth) -> Split:
    """The split of host memory, its rest explained as far as the engine's own limits do: no endpoint says how much."""
    rest = split.memory[Segment.UNATTRIBUTED]
    if not rest.value_bytes or rest.value_bytes < 0 or growth.most_bytes == 0:
        return split
    most = "without a limit" if growth.most_bytes is None else f"up to {bytes_text(growth.most_bytes)}"
    one = (
        ""
        if growth.prompt_bytes is None
        else f", one of {growth.prompt_tokens} tokens {bytes_text(growth.prompt_bytes)}"
    )
    words = f"{rest.source}; in here are saved prompts and context checkpoints, {most}{one}"
    return replace(split, memory=split.memory.replaced({Segment.UNATTRIBUTED: replace(rest, source=words)}))


def _bounded(cache: Figure, left: int | None, prior: Figure | None) -> Figure:
    """A cache that nobody reports is at most what the measured total leaves beside the rest: a range, no number."""
    if cache.basis is not Basis.UNKNOWN or cache.low_bytes is None or left is None:
        return cache
    return replace(cache, high_bytes=max(left - (prior.least_bytes if prior is not None else 0), cache.low_bytes))


def _within(compute: Figure, left: int | None, prior: Figure | None) -> Figure:
    """An estimate of compute buffers, but never more than the measurement leaves room for, nor less than its low end.

    What a process takes without a model stays free beside it.
    """
    if left is None or compute.basis is not Basis.ESTIMATED or compute.value_bytes is None:
        return compute
    room = max(left - _value(prior), compute.low_bytes or 0, 0)
    if compute.value_bytes <= room:
        return compute
    high = max(room, min(compute.high_bytes or room, left))
    source = f"{compute.source}, capped by the measured total"
    return Figure(room, Basis.ESTIMATED, min(compute.low_bytes or 0, room), high, source)


def _host_of_a_card(left: int | None) -> Figure:
    """What a Python engine holds in host memory while its model lies on an accelerator: no rule divides it further."""
    if left is None:
        return UNKNOWN
    source = "interpreter, libraries and buffers of its processes: the model lies on the accelerator"
    return Figure(max(left, 0), Basis.RESIDUAL, source=source)


def _runtime(prior: Figure | None, left: int | None) -> Figure:
    """The prior for the device class, but never more than the measurement leaves room for."""
    if prior is None:
        return UNKNOWN
    source = "prior for a process on this kind of device, before it holds a model"
    if left is None:
        return replace(prior, source=source)
    room = max(left, 0)
    if room < _value(prior):
        source += ", capped by the measured total"
    value, low, high = (min(size, room) for size in (_value(prior), prior.least_bytes, prior.most_bytes or 0))
    return Figure.estimated(value, low, high, source)


def _value(prior: Figure | None) -> int:
    return 0 if prior is None else prior.value_bytes or 0


def _left(driver: Figure, memory: Memory) -> int | None:
    """The measured total less what is known."""
    return None if driver.value_bytes is None else driver.value_bytes - (memory.known.value_bytes or 0)


def _residual(driver: Figure, memory: Memory) -> Figure:
    """What the total leaves. Segments that are unknown are inside it, and the source says so."""
    left = _left(driver, memory)
    if left is None:
        return UNKNOWN
    source = "measured total less everything above"
    if not memory.parts:
        source = "measured total; nothing in it could be explained"
    elif not memory.is_whole:
        source += "; segments shown as unknown are in here"
    elif left < 0:
        source += "; below zero: allocated, but not resident"
    return Figure(left, Basis.RESIDUAL, source=source)
