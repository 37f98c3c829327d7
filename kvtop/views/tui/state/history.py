"""What a server did until now, kept by the dashboard for trends and plots: bounded, so that a long run stays small."""

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from kvtop.domain.frame import Frame, ServerView

RECENT_SECONDS = 600.0
"""Every tick is kept for this long; before it, one point for each COARSE_SECONDS."""
COARSE_SECONDS = 30.0
KEPT_SECONDS = 12 * 3600.0
TREND_SECONDS = 30.0
"""One column of a trend: whole half minutes, so that it does not shift with every tick."""
TREND_KEPT = 20
_FIELDS = 5
_LEVELS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Point:
    """One instant. Unix seconds; None is unknown. `headroom` is in the unit of its trail."""

    at: float
    kv_ratio: float | None
    tokens_per_second: float | None
    headroom: float | None


class ServerHistory:
    """The points of one server, oldest first.

    Headroom is kept in tokens and in bytes, and told in one unit for the whole trail: tokens as soon as they were known
    once. Numbers of two units on one axis would be read as one curve.
    """

    def __init__(self) -> None:
        self._recent, self._coarse = array("d"), array("d")
        self._trend: dict[int, float] = {}
        self._has_tokens = self._has_bytes = False

    @property
    def headroom_is_bytes(self) -> bool:
        """The unit of `Point.headroom`."""
        return self._has_bytes and not self._has_tokens

    def note(self, at: float, view: ServerView) -> None:
        """One more. Time that runs backwards (a recording was wound back) forgets what lies ahead of it."""
        for kept in (self._recent, self._coarse):
            while kept and kept[-_FIELDS] >= at:
                del kept[-_FIELDS:]
                self._trend.clear()
        tokens = view.headroom.cache_tokens_left
        free = [size for _, size in view.headroom.device_free_bytes if size is not None]
        self._has_tokens |= tokens is not None
        self._has_bytes |= bool(free)
        fields = (view.kv_cache.used_ratio, view.generated_tokens_per_second, tokens, min(free, default=None))
        values = [at, *(math.nan if field is None else float(field) for field in fields)]
        self._recent.extend(values)
        if not self._coarse or at - self._coarse[-_FIELDS] >= COARSE_SECONDS:
            self._coarse.extend(values)
        if view.kv_cache.used_ratio is not None:
            self._trend[int(at // TREND_SECONDS)] = view.kv_cache.used_ratio
            if len(self._trend) > TREND_KEPT:
                del self._trend[min(self._trend)]
        _forget(self._recent, at - RECENT_SECONDS)
        _forget(self._coarse, at - KEPT_SECONDS)

    @property
    def newest(self) -> float:
        """When the last point was noted, Unix seconds; 0 before the first."""
        return self._recent[-_FIELDS] if self._recent else 0.0

    def since(self, start: float) -> Iterator[Point]:
        """The points after `start`: coarse ones first, then every tick."""
        turn = self._recent[0] if self._recent else math.inf
        in_bytes = self.headroom_is_bytes
        for kept in (self._coarse, self._recent):
            for index in range(0, len(kept), _FIELDS):
                if kept[index] >= start and (kept is self._recent or kept[index] < turn):
                    at, *fields = kept[index : index + _FIELDS]
                    ratio, rate, tokens, size = (None if math.isnan(field) else field for field in fields)
                    yield Point(at, ratio, rate, size if in_bytes else tokens)

    def trend(self, columns: int) -> str:
        """KV use by half minutes as eighth blocks on the fixed scale 0..1, newest at the right; blank is unknown."""
        if not self._recent:
            return " " * columns
        newest = int(self._recent[-_FIELDS] // TREND_SECONDS)
        ratios = [self._trend.get(newest - columns + 1 + place) for place in range(columns)]
        return "".join(" " if ratio is None else _LEVELS[min(int(ratio * 8), 7)] for ratio in ratios)


def _forget(kept: "array[float]", before: float) -> None:
    while len(kept) > _FIELDS and kept[0] < before:
        del kept[:_FIELDS]


class Trails:
    """A trail for each server of the last frame; a server that is gone takes its trail with it."""

    def __init__(self) -> None:
        self._trails: dict[str, ServerHistory] = {}

    def note(self, frame: Frame) -> None:
        """Adds a frame."""
        self._trails = {view.reading.id: self._trails.get(view.reading.id) or ServerHistory() for view in frame.servers}
        for view in frame.servers:
            self._trails[view.reading.id].note(frame.taken_at, view)

    def of(self, server_id: str) -> ServerHistory:
        """The trail of that server; an empty one when there is none."""
        return self._trails.get(server_id) or ServerHistory()
