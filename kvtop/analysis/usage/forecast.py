"""When the cache of a server will be full: the first of its limits that something leads to.

A forecast is said when it has held for some seconds, and taken back as soon as nothing leads there any more.
"""

from dataclasses import dataclass, field

from kvtop.analysis.usage.answer_lengths import AnswerLengths
from kvtop.analysis.usage.limit_history import Expected, LimitHistory
from kvtop.analysis.usage.limits import Answer, FillLimit, limits_of
from kvtop.domain.headroom import Filling, Ground, TimeToFull
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.server import ServerReading, ServerState

SAID_AFTER_SECONDS = 3.0
"""An expectation that has held for so long is said."""
KEPT_SECONDS = 3.0
"""One that is gone counts down for so long: a reading may be late."""
SAID_AGAIN_AFTER_SECONDS = 30.0
"""After one that was taken back."""
MOST_SECONDS = 3600.0
FULL_SECONDS = 10.0
"""For so long a limit that was met is called full: the request that met it is gone within the second."""
TOLD_SECONDS = 120.0
"""For so long it is told that it was."""
FULL_RATIO = 0.985
_SAME = 0.75
"""A limit that was told stays, unless another comes much sooner."""


@dataclass(slots=True)
class _Said:
    since: float | None = None
    """When the expectation began to hold."""
    last: tuple[float, Expected] | None = None
    """When it last held, and what it was."""
    is_said: bool = False
    taken_back_at: float | None = None


@dataclass(slots=True)
class Forecast:
    """One server over time. Call `now` once a tick; it remembers what it needs."""

    histories: dict[str, LimitHistory] = field(default_factory=dict)
    lengths: AnswerLengths = field(default_factory=AnswerLengths)
    _said: dict[str, _Said] = field(default_factory=dict)
    _full_at: dict[str, float] = field(default_factory=dict)
    _was_running: dict[str, bool] = field(default_factory=dict)
    _preemptions: float | None = None
    _told_last: str = ""
    _was_short: bool = False
    _now: float = 0.0

    def now(self, taken_at: float, reading: ServerReading, plan: MemoryPlan | None) -> TimeToFull:
        """What is to be said of this reading."""
        if reading.state is ServerState.SLEEPING or taken_at < self._now:  # or the clock went back
            self.histories, self._said, self._full_at = {}, {}, {}
        self._now = taken_at
        if reading.state is ServerState.SLEEPING:
            return TimeToFull(Filling.STEADY)
        limits = list(limits_of(reading, plan))
        if not limits:
            return TimeToFull(Filling.UNKNOWN)
        self.lengths.add(_running(limits), reading.counters)
        for limit in limits:
            self.histories.setdefault(limit.cause, LimitHistory()).add(taken_at, limit)
        causes = {limit.cause for limit in limits}
        self.histories = {cause: it for cause, it in self.histories.items() if cause in causes}
        lefts = [limit.left for limit in limits if limit.left is not None]
        least = min(lefts) if len(lefts) == len(limits) else None
        full = self._full(taken_at, limits, reading)
        if full is not None:
            told = self._told(full, Filling.FULL)
            self.histories[full.cause].was_full()
            self._said.pop(full.cause, None)
            return told
        ceiling = max((self.histories[limit.cause].ceiling for limit in limits if limit.keeps), default=0)
        said = [(it, limit) for limit in limits if (it := self._sure(taken_at, limit, ceiling)) is not None]
        if said:
            expected, limit = min(said, key=lambda it: it[0].seconds * (_SAME if it[1].cause == self._told_last else 1))
            self._told_last = limit.cause
            return self._told(limit, Filling.GROWING, expected)
        self._told_last = ""
        if least is None:
            return TimeToFull(Filling.UNKNOWN)
        tightest = min(limits, key=lambda it: it.left or 0)
        running = [limit for limit in limits if limit.running]
        if running and all(limit.cannot_fill for limit in limits):
            return self._told(tightest, Filling.BOUNDED)
        return self._told(tightest, Filling.STEADY)

    def _told(self, limit: FillLimit, state: Filling, expected: Expected | None = None) -> TimeToFull:
        filled = max(self._full_at, key=lambda cause: self._full_at[cause], default="")
        peak, over = self.histories[limit.cause].envelopes[-1].highest()
        return TimeToFull(
            state,
            None if expected is None else expected.seconds,
            cause=limit.cause,
            tokens_left=limit.left,
            tokens_per_second=None if expected is None else expected.tokens_per_second,
            ground=Ground.NONE if expected is None else expected.ground,
            addable_tokens=limit.addable,
            peak_ratio=peak / limit.capacity if over and limit.capacity else None,
            peak_seconds=over,
            filled=filled,
            filled_seconds_ago=self._now - self._full_at[filled] if filled else 0.0,
        )

    def _sure(self, taken_at: float, limit: FillLimit, ceiling: int) -> Expected | None:
        """What may be said of a limit: an expectation that holds, or held a moment ago."""
        said = self._said.setdefault(limit.cause, _Said())
        expected = self.histories[limit.cause].expected(limit, self.lengths, ceiling if limit.keeps else 0)
        if expected is not None and expected.seconds <= MOST_SECONDS:
            said.since = taken_at if said.since is None else said.since
            said.last = (taken_at, expected)
            is_back = said.taken_back_at is None or taken_at - said.taken_back_at >= SAID_AGAIN_AFTER_SECONDS
            said.is_said = said.is_said or (taken_at - said.since >= SAID_AFTER_SECONDS and is_back)
            return expected if said.is_said else None
        last, said.since = said.last, None
        if said.is_said and last is not None and taken_at - last[0] <= KEPT_SECONDS and not limit.cannot_fill:
            seconds = max(last[1].seconds - (taken_at - last[0]), 0.0)
            return Expected(seconds, last[1].ground, last[1].tokens_per_second)
        if said.is_said:
            said.is_said, said.taken_back_at = False, taken_at
        return None

    def _full(self, taken_at: float, limits: list[FillLimit], reading: ServerReading) -> FillLimit | None:
        """A limit that is met, or was within the last seconds."""
        counters = reading.counters
        total, before = counters.preemptions_total, self._preemptions
        self._preemptions = total
        is_short = _waits_for_room(reading, limits) and self._was_short
        self._was_short = _waits_for_room(reading, limits)
        is_short = is_short or (total is not None and before is not None and total > before)
        for limit in limits:
            is_running = bool(limit.running)
            was_running = self._was_running.get(limit.cause, False)
            self._was_running[limit.cause] = is_running
            is_met = limit.held is not None and limit.held >= FULL_RATIO * limit.capacity
            of_pools = limit.answers is None and len(reading.pools) == 1
            if (is_met and (is_running or was_running)) or (is_short and of_pools):
                self._full_at[limit.cause] = taken_at
        self._full_at = {it: at for it, at in self._full_at.items() if 0 <= taken_at - at <= TOLD_SECONDS}
        recent = [it for it in limits if taken_at - self._full_at.get(it.cause, -1e18) <= FULL_SECONDS]
        return max(recent, key=lambda it: self._full_at[it.cause]) if recent else None


def _waits_for_room(reading: ServerReading, limits: list[FillLimit]) -> bool:
    """Whether requests wait although more may run: then the pool has no room for the next one's prompt."""
    counters, most = reading.counters, reading.concurrent_sequences_limit
    if counters.requests_waiting_for_memory:
        return True
    if not counters.requests_waiting or most is None or (counters.requests_processing or 0) >= most:
        return False
    return any(it.answers is None and it.held is not None and it.held > it.capacity / 2 for it in limits)


def _running(limits: list[FillLimit]) -> dict[tuple[int, int | None], tuple[Answer, bool]]:
    """The requests that run, each with whether it stands at a limit; the pool of all slots has them again."""
    found: dict[tuple[int, int | None], tuple[Answer, bool]] = {}
    for limit in limits:
        is_cut = limit.held is not None and limit.held >= FULL_RATIO * limit.capacity
        for answer in limit.answers or ():
            known = found.get(answer.name)
            found[answer.name] = (answer, is_cut or (known is not None and known[1]))
    return found
