"""Whether the next request fits: how many more of a usual length a server has room for now."""

from kvtop.analysis.usage.limits import limits_of
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.server import ServerReading, ServerState

REQUEST_TOKENS = 8192
"""A usual length, where a server permits it; else its own longest."""


def request_room(reading: ServerReading, plan: MemoryPlan | None) -> tuple[int | None, int | None]:
    """(requests, tokens of each) that could begin at once and have their room; (None, None) where that is not known.

    What running requests will still add is not taken off: that is the forecast's part.
    """
    if reading.state is not ServerState.READY:
        return None, None
    return _in_pools(reading, plan) if reading.pools else _in_slots(reading, plan)


def _in_pools(reading: ServerReading, plan: MemoryPlan | None) -> tuple[int | None, int | None]:
    limits = [limit for limit in limits_of(reading, plan) if limit.answers is None]
    tokens = min(REQUEST_TOKENS, reading.sequence_limit_tokens or REQUEST_TOKENS)
    lefts = [None if limit.held is None else max(limit.capacity - limit.held, 0) for limit in limits]
    known = [left for left in lefts if left is not None]
    if len(known) < len(reading.pools):
        return None, None
    requests = sum(left // tokens for left in known)
    running, most = reading.counters.requests_processing, reading.concurrent_sequences_limit
    if running is not None and most is not None:
        requests = min(requests, max(int(most - running), 0))
    return requests, tokens


def _in_slots(reading: ServerReading, plan: MemoryPlan | None) -> tuple[int | None, int | None]:
    slots = reading.slots or ()
    contexts = [slot.context_tokens for slot in slots if slot.context_tokens is not None]
    if not slots or len(contexts) < len(slots) or any(slot.is_processing is None for slot in slots):
        return None, None
    tokens = min(REQUEST_TOKENS, *contexts)
    idle = sum(slot.is_processing is False for slot in slots)
    for limit in limits_of(reading, plan):
        if not limit.keeps:  # the pool that all slots share
            if limit.held is None:
                return None, None
            idle = min(idle, max(limit.capacity - limit.held, 0) // tokens)
    return idle, tokens
