"""A verdict that a person can rely on for a while: it gets worse when that is sure, and better when that has lasted."""

from collections import deque
from dataclasses import dataclass, field

from kvtop.analysis.usage.verdict import TIGHT, WAITING, verdict
from kvtop.domain.device import Device
from kvtop.domain.headroom import Headroom, TimeToFull, Verdict
from kvtop.domain.server import ServerReading

WORSE_AFTER_SECONDS = 3.0
BETTER_AFTER_SECONDS = 20.0
CHANGES_A_MINUTE = 2
_MINUTE = 60.0
_LASTING = frozenset({WAITING, TIGHT, "steady", "ready"})
"""What may go back and forth with every request. Everything else is told at once, and ends at once."""
_SEVERITY = {"ready": 0, "steady": 0, TIGHT: 1, WAITING: 2}


@dataclass(slots=True)
class SteadyVerdict:
    """The verdict of one server over time."""

    _shown: Verdict | None = None
    _changed_at: deque[float] = field(default_factory=deque)
    _wanted: tuple[str, float] = ("", 0.0)

    def now(
        self,
        taken_at: float,
        reading: ServerReading,
        filling: TimeToFull,
        headroom: Headroom,
        devices: tuple[Device, ...] = (),
    ) -> Verdict:
        """What to show: the verdict of this reading, or the last one as long as this one has not lasted."""
        wanted = verdict(reading, filling, headroom, devices)
        if wanted.kind != self._wanted[0] or taken_at < self._wanted[1]:
            self._wanted = (wanted.kind, taken_at)
        if self._shown is None or wanted.kind == self._shown.kind or self._may(taken_at, wanted, self._shown):
            if self._shown is not None and wanted.kind != self._shown.kind:
                self._changed_at.append(taken_at)
            self._shown = wanted
        return self._shown

    def _may(self, taken_at: float, wanted: Verdict, shown: Verdict) -> bool:
        while self._changed_at and not 0 <= taken_at - self._changed_at[0] < _MINUTE:
            self._changed_at.popleft()
        has_changed_often = len(self._changed_at) >= CHANGES_A_MINUTE
        if shown.seconds is not None or shown.kind not in _LASTING:
            return True  # what is no longer so must not be said any longer
        if wanted.kind not in _LASTING and wanted.seconds is None:
            return True
        if wanted.seconds is not None:
            return not has_changed_often
        is_worse = _SEVERITY[wanted.kind] > _SEVERITY[shown.kind]
        lasted = taken_at - self._wanted[1] >= (WORSE_AFTER_SECONDS if is_worse else BETTER_AFTER_SECONDS)
        return lasted and not has_changed_often
