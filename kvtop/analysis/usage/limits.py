"""The limits that a cache can meet, what counts against each, and how much what runs can still add to it."""

from collections.abc import Iterator
from dataclasses import dataclass

from kvtop.domain.engine_report import PoolReport
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.server import ServerReading, Slot


@dataclass(frozen=True, slots=True)
class Answer:
    """One running request of a slot: `generated` tokens so far, and its `name`, which no other request ever has."""

    name: tuple[int, int | None]
    generated: int
    may_add: int
    """The most that it can still generate: its own limit, or what is left of its slot."""


@dataclass(frozen=True, slots=True)
class FillLimit:
    """One limit as it is now, in tokens.

    `held`: what nobody else may have now; an idle slot of a shared pool gives way. None: nobody says. `addable`: the
    most that the running requests can still put in; None: not known. `running`: how many there are, None: not known.
    `answers` are those requests one by one, None where the engine reports none of them singly.
    """

    cause: str
    capacity: int
    held: int | None
    addable: int | None
    running: float | None
    answers: tuple[Answer, ...] | None = None
    ended: float = 0.0
    """Requests that have ended, as the engine counts them; 0 where `answers` tell."""
    keeps: bool = False
    """What an ended request held stays until another conversation takes its place: a fall is one that begins."""
    longest: int | None = None
    """The most tokens that one request may have; None: not known, or the capacity itself."""
    has_room_for_all: bool = False
    """As many of the longest permitted requests as may run at once fit in it: nothing can ever fill it."""

    @property
    def left(self) -> int | None:
        """Tokens to the limit. What an ended request left behind gives way to the next one."""
        if self.held is None:
            return None
        return self.capacity if self.running == 0 else max(self.capacity - self.held, 0)

    @property
    def cannot_fill(self) -> bool:
        """Whether everything that runs ends before the limit, however long it goes on."""
        if self.has_room_for_all:
            return True
        return self.held is not None and self.addable is not None and self.held + self.addable < self.capacity


def limits_of(reading: ServerReading, plan: MemoryPlan | None) -> Iterator[FillLimit]:
    """Each slot's own, the pool that all slots share, or the pool of each engine."""
    slots = reading.slots or ()
    for slot in slots:
        if slot.context_tokens is not None:
            yield _of_slot(slot, slot.context_tokens)
    if slots and plan is not None and plan.context is not None and plan.context.kv_unified:
        yield _of_all_slots(slots, plan.context.n_ctx)
    for pool in reading.pools:
        if pool.usable_tokens is not None:
            yield _of_pool(reading, pool, pool.usable_tokens)


def _of_slot(slot: Slot, capacity: int) -> FillLimit:
    answers = _answers((slot,))
    addable = 0 if slot.is_processing is False else None
    if slot.is_processing and slot.used_tokens is not None and slot.decoded_tokens and answers:
        # While a prompt is read nobody says how long it is; that it fits is checked before.
        addable = answers[0].may_add
    running = float(slot.is_processing is not False)
    return FillLimit(f"slot {slot.id}", capacity, slot.used_tokens, addable, running, answers, keeps=True)


def _of_all_slots(slots: tuple[Slot, ...], capacity: int) -> FillLimit:
    """Idle slots are emptied as soon as a running request needs the room (`try_clear_idle_slots`, b11434)."""
    busy = tuple(slot for slot in slots if slot.is_processing is not False)
    held = [slot.used_tokens for slot in busy]
    known = [tokens for tokens in held if tokens is not None]
    answers = _answers(busy)
    is_reading = any(not slot.decoded_tokens for slot in busy)
    addable = None if is_reading else sum(answer.may_add for answer in answers)
    total = sum(known) if len(known) == len(held) else None
    return FillLimit("the pool of all slots", capacity, total, addable, float(len(busy)), answers)


def _answers(slots: tuple[Slot, ...]) -> tuple[Answer, ...]:
    return tuple(
        Answer((slot.id, slot.task_id), slot.decoded_tokens, _may_add(slot))
        for slot in slots
        if slot.is_processing and slot.decoded_tokens
    )


def _may_add(slot: Slot) -> int:
    room = max((slot.context_tokens or 0) - (slot.used_tokens or 0), 0)
    return room if slot.remaining_tokens is None else min(room, slot.remaining_tokens)


def _of_pool(reading: ServerReading, pool: PoolReport, capacity: int) -> FillLimit:
    running = pool.requests_running
    if running is None and len(reading.pools) == 1:
        running = reading.counters.requests_processing
    held, addable = pool.held_tokens, None
    if running is not None and reading.sequence_limit_tokens is not None and held is not None:
        addable = max(int(running * reading.sequence_limit_tokens) - held, 0)
    has_room = _has_room_for_all(reading, pool)
    return FillLimit(
        cause_of(reading, pool),
        capacity,
        held,
        addable,
        running,
        ended=reading.counters.ended_requests_total or 0.0,
        longest=reading.sequence_limit_tokens,
        has_room_for_all=has_room,
    )


def _has_room_for_all(reading: ServerReading, pool: PoolReport) -> bool:
    """Only where the server was told how many may run: vLLM's own default depends on the card and is not reported."""
    if pool.max_concurrency is None or reading.concurrent_sequences_limit is None:
        return False
    return reading.concurrent_sequences_limit <= pool.max_concurrency * pool.usable_share


def cause_of(reading: ServerReading, pool: PoolReport) -> str:
    """A pool's name among the limits."""
    return "the pool" if len(reading.pools) == 1 else f"the pool of engine {pool.engine_index}"
