"""How much room a server has left, when it will be used up, and what stands in the way."""

from dataclasses import dataclass
from enum import StrEnum


class Filling(StrEnum):
    """What the KV cache, or the memory of a server without a fixed one, is doing."""

    STEADY = "steady"
    """Nothing grows: it will never be full as things are."""
    GROWING = "growing"
    BOUNDED = "bounded"
    """It grows, and will never be full: every request that may run at once has room in it to its last token."""
    FULL = "full"
    UNKNOWN = "unknown"
    """Nobody says how full it is, or it has not been watched long enough."""


@dataclass(frozen=True, slots=True)
class TimeToFull:
    """When the first limit will be met if growth goes on as in the last seconds.

    `seconds` is set exactly when `state` is GROWING. `cause` names the limit that comes first ("slot 2", "the pool",
    "gpu0") and `tokens_left` (or `bytes_left` for memory) what is left before it.
    """

    state: Filling
    seconds: float | None = None
    cause: str = ""
    tokens_left: int | None = None
    tokens_per_second: float | None = None
    bytes_left: int | None = None


@dataclass(frozen=True, slots=True)
class Headroom:
    """Room for growth. `cache_tokens_left` under the server's own limits; `device_free_bytes` by device id."""

    cache_tokens_left: int | None = None
    device_free_bytes: tuple[tuple[str, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a running server holds on a device beyond weights, caches and compute: runtime and everything unexplained.

    A what-if adds it to the new plan, so that only what the change touches moves. It belongs to this server at this
    build: a new process or version starts anew. Less than nothing where the estimate of compute is too high for it.
    """

    device_id: str
    beyond_bytes: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two sources that should say the same and do not. `segment` is a Segment's value or "kv_cache_tokens".

    `tolerance` is what rounding or the stated error explains, in the unit of the amounts (bytes or tokens).
    """

    segment: str
    device_id: str
    computed: int
    reported: int
    tolerance: int
    source: str


class Concern(StrEnum):
    """How much a verdict wants attention."""

    CALM = "calm"
    WATCH = "watch"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of a server in a word or two ("steady", "full in 4 min", "asleep", "locked")."""

    words: str
    concern: Concern = Concern.CALM


NO_HEADROOM = Headroom()
NOT_KNOWN_YET = TimeToFull(Filling.UNKNOWN)
NO_VERDICT = Verdict("unknown")
