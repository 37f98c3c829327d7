"""Which servers the table shows, and in which order."""

from collections.abc import Callable
from dataclasses import dataclass

from kvtop.domain.frame import ServerView
from kvtop.domain.headroom import Concern
from kvtop.domain.server import ServerState

_CONCERNS = (Concern.BAD, Concern.WATCH, Concern.CALM)


@dataclass(frozen=True, slots=True)
class Order:
    """One way to order servers. `column` is the title of the column that it goes by."""

    name: str
    column: str
    key: Callable[[ServerView], tuple[object, ...]]


def _name(view: ServerView) -> str:
    return (view.reading.model.name or view.reading.model.path or "").rsplit("/", 1)[-1].lower()


def _memory(view: ServerView) -> int:
    return view.held.least_bytes


def _left(view: ServerView) -> float:
    room = view.headroom
    if room.more_requests is None or room.request_tokens is None:
        return float("inf")
    return float(room.more_requests * room.request_tokens)


def _worry(view: ServerView) -> tuple[object, ...]:
    asks = view.reading.state not in {ServerState.READY, ServerState.SLEEPING}
    return (_CONCERNS.index(view.verdict.concern), not asks, view.time_to_full.seconds or float("inf"))


ORDERS = (
    Order("urgency", "verdict", _worry),
    Order("found", "server", lambda _: ()),
    Order("memory", "memory", lambda view: (-_memory(view),)),
    Order("KV use", "KV", lambda view: (-(view.kv_cache.used_ratio or 0.0),)),
    Order("room", "room", lambda view: (_left(view),)),
    Order("speed", "tok/s", lambda view: (-(view.generated_tokens_per_second or 0.0),)),
    Order("findings", "findings", lambda view: (-len(view.findings),)),
    Order("engine", "engine", lambda view: (view.reading.engine, _name(view))),
    Order("model", "model", lambda view: (_name(view),)),
)
"""The first is the one at the start. All keep the order in which servers were found among equals."""


def words_of(view: ServerView) -> str:
    """Everything that a filter looks at, in small letters."""
    reading, cache = view.reading, view.kv_cache
    model = reading.model
    texts = (reading.id, reading.engine, reading.state.value, model.name, model.path, model.quantization, cache.type_k)
    found = [f"{finding.code} {finding.slug}" for finding in view.findings]
    devices = [split.device_id for split in view.splits]
    return " ".join([*filter(None, (*texts, cache.type_v, view.verdict.words)), *found, *devices]).lower()


def arranged(
    servers: tuple[ServerView, ...], words: str, order: Order, *, is_reversed: bool = False
) -> tuple[ServerView, ...]:
    """The servers that have every one of these words somewhere, in that order or the other way around."""
    wanted = words.lower().split()
    kept = [view for view in servers if all(word in words_of(view) for word in wanted)] if wanted else servers
    return tuple(sorted(kept, key=order.key, reverse=is_reversed))
