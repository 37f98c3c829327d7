"""Time to first token: the mean of the requests of the last minute, from an engine's own totals."""

from collections import deque
from dataclasses import dataclass, field

from kvtop.domain.server import Counters

_SECONDS = 60.0


@dataclass(slots=True)
class FirstToken:
    """Totals of one server within the last minute: (when, seconds, requests)."""

    points: deque[tuple[float, float, float]] = field(default_factory=deque)

    def mean_seconds(self, taken_at: float, counters: Counters) -> float | None:
        """The mean over requests that got their first token within a minute; None without any, or without totals."""
        seconds, requests = counters.first_token_seconds_total, counters.first_token_requests_total
        if seconds is None or requests is None:
            return None
        if self.points and (taken_at <= self.points[-1][0] or requests < self.points[-1][2]):
            self.points.clear()  # the clock went back, or the server was started again
        self.points.append((taken_at, seconds, requests))
        while taken_at - self.points[0][0] > _SECONDS:
            self.points.popleft()
        _, before, had = self.points[0]
        return (seconds - before) / (requests - had) if requests > had else None
