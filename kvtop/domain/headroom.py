"""How much room a server has left, when it will be used up, and what stands in the way."""

from dataclasses import dataclass
from enum import StrEnum


class Filling(StrEnum):
    """What the KV cache, or the memory of a server without a fixed one, is doing."""

    STEADY = "steady"
    """Nothing runs, or nothing that runs leads to a limit as far as it was watched."""
    GROWING = "growing"
    """It will be full if what grows goes on: `TimeToFull.ground` says what that is."""
    BOUNDED = "bounded"
    """Something runs, and cannot fill it: every request ends before, at its own limit at the latest."""
    FULL = "full"
    UNKNOWN = "unknown"
    """Nobody says how full it is, or it has not been watched long enough."""


class Ground(StrEnum):
    """What a forecast rests on."""

    NONE = ""
    ANSWERS = "answers"
    """Requests that run now have generated more than the others did, and nothing ends them before the limit."""
    PEAKS = "peaks"
    """The highest use of every quarter of a minute has risen for more than a minute."""
    MEMORY = "memory"
    """The memory of a server whose cache has no size of its own grew in the last half minute."""


@dataclass(frozen=True, slots=True)
class TimeToFull:
    """When the first limit will be met, and what says so.

    `seconds` is set exactly when `state` is GROWING. `cause` names the limit that comes first ("slot 2", "the pool",
    "gpu0") and `tokens_left` (or `bytes_left` for memory) what is left before it. `addable_tokens`: the most that
    running requests can still add to that limit, None where it is not known. `peak_ratio`: the highest use of it within
    `peak_seconds`.
    """

    state: Filling
    seconds: float | None = None
    cause: str = ""
    tokens_left: int | None = None
    tokens_per_second: float | None = None
    bytes_left: int | None = None
    ground: Ground = Ground.NONE
    addable_tokens: int | None = None
    peak_ratio: float | None = None
    peak_seconds: float = 0.0
    filled: str = ""
    """The limit that was met last, within `filled_seconds_ago`; "" where none was for two minutes."""
    filled_seconds_ago: float = 0.0


@dataclass(frozen=True, slots=True)
class Headroom:
    """Room for growth. `cache_tokens_left` under the server's own limits; `device_free_bytes` by device id.

    `more_requests` of `request_tokens` each could begin now and have their room; None: not known.
    """

    cache_tokens_left: int | None = None
    device_free_bytes: tuple[tuple[str, int | None], ...] = ()
    more_requests: int | None = None
    request_tokens: int | None = None


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
    """The state of a server in a word or two ("steady", "full in 4m", "asleep", "locked").

    `seconds` of a countdown, which is what its words end in; None where nothing is counted down. `topic` is what
    several wordings are about ("full" of "slot 2 is full" and "slot 2 filled 40s ago").
    """

    words: str
    concern: Concern = Concern.CALM
    seconds: float | None = None
    topic: str = ""

    @property
    def kind(self) -> str:
        """The words without what changes by itself: equal kinds are one verdict that goes on."""
        return "full in" if self.seconds is not None else self.topic or self.words


NO_HEADROOM = Headroom()
NOT_KNOWN_YET = TimeToFull(Filling.UNKNOWN)
NO_VERDICT = Verdict("unknown")
