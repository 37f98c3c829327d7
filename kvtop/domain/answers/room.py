"""How much of a device one process can have, and the one verdict on what it needs there.

Every verb and screen asks `verdict`: plan, recommendations, frontiers, what-ifs, rules and comparisons cannot differ.
"""

from dataclasses import dataclass
from enum import StrEnum

from kvtop.domain.figure import NOTHING, Figure
from kvtop.domain.plan import PlanDevice


class Fit(StrEnum):
    """Whether a plan has room on one device."""

    FITS = "fits"
    TIGHT = "tight"
    """The estimates decide: it fits with some of what they allow, and not with all of it."""
    TOO_LARGE = "does not fit"
    UNKNOWN = "unknown"
    """Nobody said how much memory there is."""


@dataclass(frozen=True, slots=True)
class Room:
    """The memory of one device that is there for one process.

    `available_bytes` is what others leave of it now. `reserve` comes off that before a plan is held against it: the
    process's own context, and what its API's pool grows by later. `total_bytes` is all that the API reports of the
    device; None is unknown.
    """

    available_bytes: int
    total_bytes: int | None = None
    reserve: Figure = NOTHING

    @property
    def value_bytes(self) -> int:
        """What is likely left for the plan."""
        return self.available_bytes - (self.reserve.value_bytes or 0)

    @property
    def low_bytes(self) -> int:
        """What is surely left for it."""
        return self.available_bytes - (self.reserve.most_bytes or 0)

    @property
    def high_bytes(self) -> int:
        """The most that can be left for it."""
        return self.available_bytes - self.reserve.least_bytes

    def less(self, size_bytes: int) -> "Room":
        """The same with so many bytes taken by something else."""
        return Room(max(self.available_bytes - size_bytes, 0), self.total_bytes, self.reserve)


def room_of(device: PlanDevice) -> Room | None:
    """The room on a device to plan for: what is free, else all of it; None where neither is known."""
    available = device.total_bytes if device.free_bytes is None else device.free_bytes
    return None if available is None else Room(available, device.total_bytes, device.own_context + device.pool_growth)


def verdict(needed: Figure, room: Room | None, *, is_whole: bool = True) -> Fit:
    """Fits, fits perhaps, or does not fit; `is_whole` False: `needed` is only the least that it takes."""
    if room is None:
        return Fit.UNKNOWN
    if needed.value_bytes is None or needed.most_bytes is None:
        return Fit.TOO_LARGE if needed.least_bytes > room.high_bytes else Fit.UNKNOWN
    if needed.most_bytes <= room.low_bytes:
        return Fit.FITS if is_whole else Fit.UNKNOWN
    return Fit.TIGHT if needed.value_bytes <= room.high_bytes else Fit.TOO_LARGE
