"""How fast a cache fills and which limit comes first, from the readings of the last seconds."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from kvtop.domain.device import Device
from kvtop.domain.engine_report import PoolReport
from kvtop.domain.figure import Figure
from kvtop.domain.headroom import Filling, TimeToFull
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.server import ServerReading, ServerState, Slot
from kvtop.planning.registry import traits_of

WINDOW_SECONDS = 30.0
"""Over which growth is measured: long enough to bridge a prompt, short enough to notice that a request has ended."""
LEAST_SECONDS = 2.0
"""Below this a rate would be an accident of the sampling."""
_FULL_RATIO = 0.999
LEAST_GROWTH_BYTES = 4 * 1024 * 1024
"""In a window. A process breathes by less without holding one token more."""


@dataclass(slots=True)
class Watched:
    """(time, what was held) of one server, oldest first. `held` maps a slot or a pool to tokens, a memory to bytes."""

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


def held_tokens(reading: ServerReading) -> dict[str, int]:
    """Tokens by slot and by pool, as far as they are said."""
    held = {_slot_name(slot): slot.used_tokens for slot in reading.slots or () if slot.used_tokens is not None}
    for pool in reading.pools:
        if pool.held_tokens is not None:
            held[_pool_name(pool.engine_index)] = pool.held_tokens
    return held


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
        known.append(TimeToFull(state, seconds, device.id, tokens, speed, free))
    growing = [it for it in known if it.state is Filling.GROWING]
    if growing:
        return min(growing, key=lambda it: it.seconds or 0.0)
    return known[0] if known else TimeToFull(Filling.UNKNOWN)


def time_to_full(watched: Watched, reading: ServerReading, plan: MemoryPlan | None) -> TimeToFull:
    """The limit that will be met first: a slot's own, the pool of all slots, or vLLM's pool of an engine.

    Slots that share a unified cache draw from one pool; a sum over them is an upper bound, so the time is a lower one.
    """
    if reading.state is ServerState.SLEEPING:
        return TimeToFull(Filling.STEADY)
    limits = list(_limits(reading, plan))
    if not limits or not watched.points:
        return TimeToFull(Filling.UNKNOWN)
    held = watched.points[-1][1]
    found: list[TimeToFull] = []
    lefts: list[int] = []
    bounded: list[TimeToFull] = []
    unsure = False
    for cause, names, capacity in limits:
        if any(name not in held for name in names):
            unsure = True
            continue
        used = sum(held[name] for name in names)
        left = max(capacity - used, 0)
        lefts.append(left)
        if used >= capacity * _FULL_RATIO and _is_busy(reading, names):
            return TimeToFull(Filling.FULL, cause=cause, tokens_left=left)
        rates = [watched.per_second(name) for name in names]
        known = [rate for rate in rates if rate is not None]
        unsure = unsure or len(known) < len(rates)
        rate = sum(known)
        if rate > 0 and _has_room_for_all(reading, cause):
            bounded.append(TimeToFull(Filling.BOUNDED, None, cause, left, rate))
        elif rate > 0:
            found.append(TimeToFull(Filling.GROWING, left / rate, cause, left, rate))
    if found:
        return min(found, key=lambda it: it.seconds or 0.0)
    if bounded and not unsure:
        return min(bounded, key=lambda it: it.tokens_left or 0)
    # A limit that nobody counts against may be the one that is met first.
    least = min(lefts) if len(lefts) == len(limits) else None
    return TimeToFull(Filling.UNKNOWN if unsure else Filling.STEADY, tokens_left=least)


def _limits(reading: ServerReading, plan: MemoryPlan | None) -> Iterable[tuple[str, tuple[str, ...], int]]:
    """(what is limited, what counts against it, tokens)."""
    for slot in reading.slots or ():
        if slot.context_tokens is not None:
            yield f"slot {slot.id}", (_slot_name(slot),), slot.context_tokens
    if reading.slots and plan is not None and plan.context is not None and plan.context.kv_unified:
        yield "the pool of all slots", tuple(_slot_name(slot) for slot in reading.slots), plan.context.n_ctx
    for pool in reading.pools:
        if pool.usable_tokens is not None:
            yield _cause_of(reading, pool), (_pool_name(pool.engine_index),), pool.usable_tokens


def _cause_of(reading: ServerReading, pool: PoolReport) -> str:
    return "the pool" if len(reading.pools) == 1 else f"the pool of engine {pool.engine_index}"


def _has_room_for_all(reading: ServerReading, cause: str) -> bool:
    """Whether a pool holds as many of the longest permitted requests as may run at once, so that it cannot be full.

    Only where the server was told how many that are: vLLM's own default depends on the card and is not reported.
    """
    pool = next((pool for pool in reading.pools if _cause_of(reading, pool) == cause), None)
    if pool is None or pool.max_concurrency is None or reading.concurrent_sequences_limit is None:
        return False
    return reading.concurrent_sequences_limit <= pool.max_concurrency * pool.usable_share


def _is_busy(reading: ServerReading, names: tuple[str, ...]) -> bool:
    """A slot that is full of an ended conversation waits for the next one and refuses nobody."""
    slots = [slot for slot in reading.slots or () if _slot_name(slot) in names]
    return not slots or any(slot.is_processing is not False for slot in slots)


def _memory_name(device_id: str) -> str:
    return f"memory of {device_id}"


def _slot_name(slot: Slot) -> str:
    return f"slot {slot.id}"


def _pool_name(engine_index: int) -> str:
    return f"pool {engine_index}"
