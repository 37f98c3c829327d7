"""How fast the memory of a server grows whose cache has no size of its own, from the last seconds."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from kvtop.domain.device import Device
from kvtop.domain.figure import Figure
from kvtop.domain.headroom import Filling, Ground, TimeToFull
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.server import ServerReading
from kvtop.planning.registry import traits_of

WINDOW_SECONDS = 30.0
"""Over which growth is measured: long enough to bridge a prompt, short enough to notice that a request has ended."""
LEAST_SECONDS = 8.0
"""Below this a rate would be an accident of the sampling."""
LEAST_GROWTH_BYTES = 4 * 1024 * 1024
"""In a window. A process breathes by less without holding one token more."""


@dataclass(slots=True)
class Watched:
    """(time, what was held) of one server, oldest first. `held` maps a memory to bytes."""

    points: deque[tuple[float, dict[str, int]]] = field(default_factory=deque)

    def add(self, taken_at: float, held: dict[str, int]) -> None:
        """Append what is held now and forget what has left the window; a clock that went back starts anew."""
        if self.points and taken_at <= self.points[-1][0]:
            self.points.clear()
        self.points.append((taken_at, held))
        while taken_at - self.points[0][0] > WINDOW_SECONDS:
            self.points.popleft()

    def per_second(self, name: str) -> float | None:
        """Growth of `name` since it last shrank (a request ended); None while that is too short a time to tell."""
        last_time, last = self.points[-1]
        if name not in last:
            return None
        start_time, start, following = last_time, last[name], last[name]
        for taken_at, held in reversed(self.points):
            if name not in held or held[name] > following:
                break
            start_time, start = taken_at, held[name]
            following = held[name]
        seconds = last_time - start_time
        return (last[name] - start) / seconds if seconds >= LEAST_SECONDS else None


def _grows(reading: ServerReading) -> bool:
    """Whether its cache is taken as requests need it, with no limit but the memory."""
    traits = traits_of(reading.engine)
    return traits is not None and traits.cache_grows


def held_memory(reading: ServerReading, rows: Iterable[tuple[Device, Figure]]) -> dict[str, int]:
    """Measured bytes by device of a server whose cache has no size of its own: the memory itself is its limit."""
    if not _grows(reading):
        return {}
    active = [it.active_bytes for it in reading.memory_reports if it.active_bytes is not None]
    if active:  # steadier than what the kernel counts: it leaves out what the allocator keeps for later
        return {_memory_name(device.id): sum(active) for device, _ in rows}
    return {_memory_name(device.id): it.value_bytes for device, it in rows if it.value_bytes is not None}


def memory_to_full(
    watched: Watched, reading: ServerReading, plan: MemoryPlan | None, devices: Iterable[Device]
) -> TimeToFull:
    """When the memory of a device will be used up by a server that takes more with every token.

    `tokens_left` is what the free memory would hold of one sequence, where a plan knows the bytes of a token.
    """
    per_token = plan.bytes_per_token if plan is not None else None
    known: list[TimeToFull] = []
    for device in devices:
        name, free = _memory_name(device.id), device.memory.free_bytes
        rate = watched.per_second(name)
        if rate is None or free is None or not _grows(reading):
            continue
        tokens = int(free / per_token) if per_token else None
        state, seconds = Filling.STEADY, None
        if rate * WINDOW_SECONDS >= LEAST_GROWTH_BYTES:
            state, seconds = Filling.GROWING, free / rate
        speed = rate / per_token if per_token and state is Filling.GROWING else None
        ground = Ground.MEMORY if state is Filling.GROWING else Ground.NONE
        known.append(TimeToFull(state, seconds, device.id, tokens, speed, free, ground))
    growing = [it for it in known if it.state is Filling.GROWING]
    if growing:
        return min(growing, key=lambda it: it.seconds or 0.0)
    return known[0] if known else TimeToFull(Filling.UNKNOWN)


def _memory_name(device_id: str) -> str:
    return f"memory of {device_id}"
