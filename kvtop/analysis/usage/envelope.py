"""The trend of peaks: how the highest use of a few seconds moves over minutes."""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

BUCKETS = 24
FITTED = 7
"""Of a long rise the last buckets: what matters is how it goes on."""
LEAST_BUCKETS = 4
"""In a row and never lower: fewer rise by accident under ordinary traffic."""
LEAST_REQUESTS = 4
"""That begin meanwhile."""
FURTHER = 1.5
"""A trend is extrapolated over so many times what was watched of it."""
_LEAST_RISE = 0.15
"""Of the limit, within those."""
_LEAST_FIT = 0.85
"""Share of the variance that a straight line explains."""
FALL = 0.7
"""Below this part of its last peak a use has fallen."""
BEYOND = 1.05
"""Of a ceiling."""
_DIP = 0.92
"""A peak that is lower by less than this does not break a trend."""
_MOST_IN_ONE_STEP = 0.5
"""Of the rise: one long prompt is no trend."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest use of a bucket: when it began, when the peak was, and how many requests had begun by then."""

    since: float
    at: float
    held: int
    begun: float


@dataclass(slots=True)
class Envelope:
    """Peaks of one limit, in tokens, oldest first.

    `bucket_seconds` is longer than the pauses between requests where these are not to look like an empty cache.
    `ceiling` is the highest use from which a trend fell without having met the limit, as when an agent sums up.
    """

    bucket_seconds: float
    ceiling: int = 0
    _trend_from: float = float("-inf")
    peaks: deque[Peak] = field(default_factory=lambda: deque(maxlen=BUCKETS))

    def add(self, taken_at: float, held: int, begun: float) -> None:
        """Take note of what is held now, and of how many requests have begun since any time."""
        if not self.peaks or taken_at - self.peaks[-1].since >= self.bucket_seconds:
            if len(self.peaks) > 1 and self.peaks[-1].held < FALL * self.peaks[-2].held:
                self._learn()
            self.peaks.append(Peak(taken_at, taken_at, held, begun))
        elif held >= self.peaks[-1].held:
            self.peaks[-1] = Peak(self.peaks[-1].since, taken_at, held, begun)

    def _learn(self) -> None:
        """A trend that ends here came as far as it meant to."""
        peaks = self.rising()
        if self._is_trend(peaks):
            self.ceiling = max(self.ceiling, peaks[-1].held)

    def give_up(self) -> None:
        """What rose has ended, and what comes next is another trend."""
        if self.peaks and self._trend_from <= self.peaks[-1].since:
            self._learn()
            self._trend_from = self.peaks[-1].since + self.bucket_seconds

    def highest(self) -> tuple[int, float]:
        """(the highest peak, seconds since the first); (0, 0) where nothing is known."""
        if not self.peaks:
            return 0, 0.0
        over = self.peaks[-1].since - self.peaks[0].since + self.bucket_seconds
        return max(peak.held for peak in self.peaks), over

    def latest(self) -> int:
        """The last peak: that of the bucket that goes on, or of the one before."""
        if not self.peaks:
            return 0
        last = self.peaks[-1].held
        return max(last, self.peaks[-2].held) if len(self.peaks) > 1 else last

    def rising(self) -> list[Peak]:
        """The last buckets of which none is lower than the one before; without one that has not peaked yet."""
        peaks = list(self.peaks)
        if len(peaks) > 1 and peaks[-1].held <= peaks[-2].held:
            peaks.pop()
        found: list[Peak] = []
        for peak in reversed(peaks):
            if peak.since < self._trend_from or (found and (peak.held * _DIP > found[-1].held or len(found) == FITTED)):
                break
            found.append(peak)
        while len(found) > 1 and found[-1].held == found[-2].held:
            found.pop()  # as long as nothing ran, nothing rose
        found.reverse()
        return found

    def seconds_to(self, capacity: int, taken_at: float) -> tuple[float, float] | None:
        """(seconds until a peak meets the limit, tokens a second), or None without a trend that leads there."""
        peaks = self.rising()
        if not self._is_trend(peaks) or peaks[-1].held <= BEYOND * self.ceiling:
            return None
        first, last = peaks[0], peaks[-1]
        rise = last.held - first.held
        if rise < _LEAST_RISE * capacity or taken_at - last.at > 2 * self.bucket_seconds:
            return None
        if max(later.held - earlier.held for earlier, later in pairwise(peaks)) > _MOST_IN_ONE_STEP * rise:
            return None
        slope, fit = _line([(peak.at, peak.held) for peak in peaks])
        if slope <= 0 or fit < _LEAST_FIT:
            return None
        seconds = (capacity - last.held) / slope - (taken_at - last.at)
        return (seconds, slope) if 0 < seconds <= FURTHER * (last.at - first.at) else None

    def _is_trend(self, peaks: list[Peak]) -> bool:
        """Whether these are peaks of one request after the other, and not of one that goes on."""
        return len(peaks) >= LEAST_BUCKETS and peaks[-1].begun - peaks[0].begun >= LEAST_REQUESTS


def _line(points: list[tuple[float, int]]) -> tuple[float, float]:
    """(slope, share of the variance explained) of a straight line by least squares."""
    count = len(points)
    mean_time = sum(when for when, _ in points) / count
    mean = sum(peak for _, peak in points) / count
    spread = sum((when - mean_time) ** 2 for when, _ in points)
    joint = sum((when - mean_time) * (peak - mean) for when, peak in points)
    whole = sum((peak - mean) ** 2 for _, peak in points)
    if spread <= 0 or whole <= 0:
        return 0.0, 0.0
    return joint / spread, joint * joint / (spread * whole)
