"""How often targets are scraped: rates and ages are judged by it."""

from collections.abc import Mapping

_USUAL_SECONDS = 30.0
_LEAST_WINDOW_SECONDS = 60.0
_STALE_SECONDS = 90.0


class ScrapeIntervals:
    """The longest interval between two scrapes that was seen of any target; 30 s until one is known."""

    def __init__(self) -> None:
        self._last: Mapping[str, float] = {}
        self._longest_seconds = 0.0

    def note(self, scraped: Mapping[str, float]) -> None:
        """`scraped`: the Unix time of the last scrape by target."""
        for target, at in scraped.items():
            between = at - self._last.get(target, at)
            # A target that was away is no slow one.
            if 0 < between <= 600:
                self._longest_seconds = max(self._longest_seconds, between)
        self._last = dict(scraped)

    @property
    def interval_seconds(self) -> float:
        """Between two scrapes of the slowest target."""
        return self._longest_seconds or _USUAL_SECONDS

    @property
    def window_seconds(self) -> int:
        """What `rate()` looks back over: four scrapes, a minute at the least."""
        return round(max(4 * self.interval_seconds, _LEAST_WINDOW_SECONDS))

    @property
    def stale_seconds(self) -> float:
        """An older scrape is an old figure: three were missed."""
        return max(3 * self.interval_seconds, _STALE_SECONDS)
