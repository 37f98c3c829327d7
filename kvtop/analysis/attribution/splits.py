"""Who holds what: one server's measured bytes on one device, divided into segments that add up to them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvtop.analysis.attribution.segments import Parts
from kvtop.domain.device import Device
from kvtop.domain.figure import UNKNOWN, Basis, Figure
from kvtop.domain.frame import Split
from kvtop.domain.plan import DevicePlan, Estimate, MemoryPlan
from kvtop.domain.process import Process
from kvtop.domain.server import Slot

_MIB = 1024 * 1024

RESIDENT_PRIOR = Estimate(40 * _MIB, 15 * _MIB, 80 * _MIB)
"""Code, libraries and allocator of a llama-server process on Linux: RssFile beyond the mapped model plus thread stacks,
20 to 60 MiB in the recorded processes of b11434."""
PYTHON_PRIOR = Estimate(80 * _MIB, 60 * _MIB, 200 * _MIB)
"""A Python engine in host memory: mlx_lm.server 0.32.2 on Linux has 94 MB resident with 12 MB of weights."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process takes on a device before it holds a model; None where nobody knows or nobody measures.

    `is_resident_set`: the measured total is a resident set in host memory, interpreter and libraries included.
    """

    prior: Estimate | None = None
    is_resident_set: bool = False


NO_RUNTIME = Runtime()


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How full a cache is: (kind, share 0..1 of that kind's cells that hold tokens)."""

    shares: tuple[tuple[str, float], ...]

    def used_bytes(self, plan: MemoryPlan, on_device: DevicePlan) -> int | None:
        """Bytes of the KV cache on that device that hold tokens now; None where a kind's use is unknown."""
        if on_device.kv_cache_bytes is None:
            return None
        growing = [part for part in plan.cache_parts if part.cells is not None]
        total_bytes = sum(part.size_bytes for part in growing)
        if total_bytes == 0:
            return 0
        share_of = dict(self.shares)
        if any(part.kind not in share_of for part in growing):
            return None
        weighted = sum(part.size_bytes * share_of[part.kind] for part in growing)
        return round(on_device.kv_cache_bytes * weighted / total_bytes)


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
    parts: Parts | None,
    runtime: Runtime = NO_RUNTIME,
    kv_used_bytes: int | None = None,
) -> Split:
    """Divide `driver` into segments. What cannot be explained stays in `unattributed`, never spread around.

    `parts` None: nothing in it could be explained.
    """
    if parts is None:
        return Split(device_id, driver, unattributed=_residual(driver, ()))
    prior = PYTHON_PRIOR if parts.is_python and runtime.is_resident_set else runtime.prior
    exact = (parts.weights, parts.kv_cache, parts.recurrent)
    compute = _within(parts.compute, _left(driver, exact), prior)
    known = (*exact, compute)
    if parts.is_idle_host and runtime.is_resident_set:
        held = _host_of_a_card(_left(driver, known))
    else:
        held = _runtime(prior, _left(driver, known))
    return Split(
        device_id=device_id,
        driver=driver,
        weights=parts.weights,
        kv_cache=_bounded(parts.kv_cache, _left(driver, known), prior),
        kv_used_bytes=kv_used_bytes,
        recurrent=parts.recurrent,
        compute=compute,
        runtime=held,
        unattributed=_residual(driver, (*known, held)),
    )


def _bounded(cache: Figure, left: int | None, prior: Estimate | None) -> Figure:
    """A cache that nobody reports is at most what the measured total leaves beside the rest: a range, no number."""
    if cache.basis is not Basis.UNKNOWN or cache.low_bytes is None or left is None:
        return cache
    return replace(cache, high_bytes=max(left - (prior.low_bytes if prior is not None else 0), cache.low_bytes))


def _within(compute: Figure, left: int | None, prior: Estimate | None) -> Figure:
    """An estimate of compute buffers, but never more than the measurement leaves room for, nor less than its low end.

    What a process takes without a model stays free beside it.
    """
    if left is None or compute.basis is not Basis.ESTIMATED or compute.value_bytes is None:
        return compute
    room = max(left - (prior.value_bytes if prior is not None else 0), compute.low_bytes or 0, 0)
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


def _runtime(prior: Estimate | None, left: int | None) -> Figure:
    """The prior for the device class, but never more than the measurement leaves room for."""
    if prior is None:
        return UNKNOWN
    source = "prior for a process on this kind of device, before it holds a model"
    if left is None:
        return Figure(prior.value_bytes, Basis.ESTIMATED, prior.low_bytes, prior.high_bytes, source)
    room = max(left, 0)
    value, low, high = (min(size, room) for size in (prior.value_bytes, prior.low_bytes, prior.high_bytes))
    if room < prior.value_bytes:
        source += ", capped by the measured total"
    return Figure(value, Basis.ESTIMATED, low, high, source)


def _left(driver: Figure, known: tuple[Figure, ...]) -> int | None:
    if driver.value_bytes is None:
        return None
    return driver.value_bytes - sum(figure.value_bytes or 0 for figure in known)


def _residual(driver: Figure, known: tuple[Figure, ...]) -> Figure:
    """What the total leaves. Segments that are unknown are inside it, and the source says so."""
    left = _left(driver, known)
    if left is None:
        return UNKNOWN
    source = "measured total less everything above"
    if not known:
        source = "measured total; nothing in it could be explained"
    elif any(figure.value_bytes is None for figure in known):
        source += "; segments shown as unknown are in here"
    elif left < 0:
        source += "; below zero: allocated, but not resident"
    return Figure(left, Basis.RESIDUAL, source=source)
