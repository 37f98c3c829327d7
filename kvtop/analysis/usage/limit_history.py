"""One limit over time: whether what runs, or the trend of its peaks, leads to it, and when."""

from collections import deque
from dataclasses import dataclass, field

from kvtop.analysis.usage.answer_lengths import AnswerLengths
from kvtop.analysis.usage.envelope import BEYOND, FALL, Envelope
from kvtop.analysis.usage.limits import Answer, FillLimit
from kvtop.domain.headroom import Ground

RATE_SECONDS = 20.0
"""Over which a pace is measured."""
LEAST_SECONDS = 8.0
"""A shorter pace is an accident of the sampling."""
AS_LONG_AGAIN = 1.5
"""An answer is expected to go on for this many times what it has come to, and no further.

Lengths have a heavy tail: what has come far goes far, and what has just begun is most likely to end soon.
"""
LEAST_USE_OF_SLOTS = 0.4
LEAST_USE_OF_POOLS = 0.5
LEAST_USE_OF_PEAKS = 0.55
BUCKETS_SECONDS = (8.0, 14.0, 28.0)
"""Of agents whose turns follow each other, and of a load that grows over minutes."""
ALL_AT_ONCE = 0.9
"""Sequences that grow do not reach their own limits together: that many of the longest ones never meet another."""
_DROP = 0.015
"""Of the limit: less is blocks that come and go while everything still runs."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The limit will be met in so many seconds, on this ground, at this pace in tokens a second."""

    seconds: float
    ground: Ground
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class _Point:
    taken_at: float
    held: int
    generated: dict[tuple[int, int | None], int]
    running: float


@dataclass(slots=True)
class LimitHistory:
    """What is remembered of one limit."""

    points: deque[_Point] = field(default_factory=deque)
    envelopes: tuple[Envelope, ...] = field(default_factory=lambda: tuple(map(Envelope, BUCKETS_SECONDS)))
    _begun: int = 0
    _seen: set[tuple[int, int | None]] = field(default_factory=set)
    _ran: float = 0.0
    _ended: float = 0.0
    _idle_since: float | None = None
    _longest_pause: float = 0.0
    _climb: tuple[float, int, float | None] | None = None
    """(since when, from how much, how many requests ran) an uninterrupted growth of a pool goes on."""

    def add(self, taken_at: float, limit: FillLimit) -> None:
        """Note what is now; nothing where nobody says how much is held. A clock that went back starts anew."""
        if limit.held is None:
            return
        if self.points and taken_at <= self.points[-1].taken_at:
            self.points.clear()
            self.was_full()
            self._climb = None
        self._follow_climb(taken_at, limit, limit.held)
        generated = {answer.name: answer.generated for answer in limit.answers or ()}
        self.points.append(_Point(taken_at, limit.held, generated, limit.running or 0.0))
        while taken_at - self.points[0].taken_at > RATE_SECONDS:
            self.points.popleft()
        begun = self._count_begun(taken_at, limit, set(generated))
        for envelope in self.envelopes:
            envelope.add(taken_at, limit.held, begun)

    def was_full(self) -> None:
        """The limit was met: what led there is over."""
        self.envelopes = tuple(Envelope(seconds, self.ceiling) for seconds in BUCKETS_SECONDS)

    def _count_begun(self, taken_at: float, limit: FillLimit, running: set[tuple[int, int | None]]) -> float:
        """How many requests have begun: by name, else by what has ended and by how many run."""
        new = len(running - self._seen)
        if limit.answers is None:
            now = limit.running or 0.0
            new = int(max(now - self._ran, limit.ended - self._ended if self._ended else 0.0, 0.0))
            self._ran, self._ended = now, limit.ended
        self._begun += new
        self._seen = running
        if limit.running:
            if self._idle_since is not None and self._begun > 1:
                self._longest_pause = max(self._longest_pause, taken_at - self._idle_since)
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = taken_at
        return float(self._begun)

    def _all_at_once(self, limit: FillLimit) -> float:
        """What as many requests as have run lately hold when all are as long as they may be."""
        if limit.longest is None:
            return float("inf")
        return limit.longest * max(limit.running or 0.0, *(it.running for it in self.points))

    def _has_paused_longer(self, taken_at: float) -> bool:
        """Whether nothing has run for longer than between the requests before: that trend is over."""
        return self._idle_since is not None and taken_at - self._idle_since > 1.5 * self._longest_pause + 3.0

    def _follow_climb(self, taken_at: float, limit: FillLimit, held: int) -> None:
        fell = bool(self.points) and held < self.points[-1].held - _DROP * limit.capacity
        if self._climb is None or fell or limit.running != self._climb[2]:
            self._climb = (taken_at, held, limit.running)

    @property
    def ceiling(self) -> int:
        """The highest use from which a trend of this limit fell by itself."""
        return max(envelope.ceiling for envelope in self.envelopes)

    def expected(self, limit: FillLimit, lengths: AnswerLengths, ceiling: int = 0) -> Expected | None:
        """The sooner of what runs and of the trend of peaks; None where neither leads to the limit.

        No trend is believed up to a `ceiling` that others of its kind fell from.
        """
        if limit.held is None or not self.points:
            return None
        found = [self._by_answers(limit, lengths), self._by_peaks(limit, ceiling)]
        known = [it for it in found if it is not None]
        return min(known, key=lambda it: it.seconds) if known else None

    def _by_answers(self, limit: FillLimit, lengths: AnswerLengths) -> Expected | None:
        if limit.cannot_fill or limit.held is None:
            return None
        if limit.answers is None:
            return self._by_climb(limit, lengths, limit.held)
        going_on = [it for it in limit.answers if lengths.is_beyond(it.generated)]
        if limit.held < LEAST_USE_OF_SLOTS * limit.capacity or not going_on:
            return None
        now = self.points[-1]
        before = [it for it in self.points if any(answer.name in it.generated for answer in going_on)]
        if not before or now.taken_at - before[0].taken_at < LEAST_SECONDS:
            return None
        first = before[0]
        pace = sum(_since(answer, first) for answer in going_on) / (now.taken_at - first.taken_at)
        # Beside them others come and go: what counts is how much is held when those hold most.
        top = max(it.held + sum(_since(answer, it) for answer in going_on) for it in before)
        left = max(limit.capacity - top, 0)
        if pace <= 0 or left <= 0 or left > AS_LONG_AGAIN * sum(answer.generated for answer in going_on):
            return None
        return Expected(left / pace, Ground.ANSWERS, pace)

    def _by_climb(self, limit: FillLimit, lengths: AnswerLengths, held: int) -> Expected | None:
        """Where requests are not told apart: growth that goes on while the same number of them runs."""
        if self._climb is None or held < LEAST_USE_OF_POOLS * limit.capacity or not limit.running:
            return None
        since, base, running = self._climb
        now = self.points[-1]
        first = next((it for it in self.points if it.taken_at >= since), now)
        seconds = now.taken_at - first.taken_at
        if seconds < LEAST_SECONDS or not running or not lengths.is_beyond((held - base) / running):
            return None
        pace, left = (held - first.held) / seconds, limit.capacity - held
        if pace <= 0 or left <= 0 or left > AS_LONG_AGAIN * (held - base):
            return None
        return Expected(left / pace, Ground.ANSWERS, pace)

    def _by_peaks(self, limit: FillLimit, ceiling: int) -> Expected | None:
        now = self.points[-1]
        if self._has_paused_longer(now.taken_at):
            for envelope in self.envelopes:
                envelope.give_up()
        if limit.has_room_for_all or self._all_at_once(limit) * ALL_AT_ONCE < limit.capacity:
            return None
        least = max(LEAST_USE_OF_PEAKS * limit.capacity, BEYOND * ceiling)
        for envelope in self.envelopes:
            peak = envelope.latest()
            if peak < least or (limit.keeps and now.held < FALL * peak):  # or another conversation has begun
                continue
            rising = envelope.seconds_to(limit.capacity, now.taken_at)
            if rising is not None:
                return Expected(rising[0], Ground.PEAKS, rising[1])
        return None


def _since(answer: Answer, point: _Point) -> int:
    """What an answer has generated since then; all of it where it had not begun."""
    return answer.generated - point.generated.get(answer.name, 0)
