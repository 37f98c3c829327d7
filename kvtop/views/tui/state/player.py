"""What the Recording screen asks of a player. The command that replays a file hands one to the app."""

from collections.abc import Callable, Sequence
from typing import Protocol

from kvtop.domain.answers.mark import Mark


class SupportsReplay(Protocol):
    """Plays a recording into the frames that the app shows. Seconds count from the recording's start."""

    @property
    def name(self) -> str:
        """The file, as the person named it."""

    @property
    def duration_seconds(self) -> float:
        """From the first sample to the last."""

    @property
    def position_seconds(self) -> float:
        """Where it is now."""

    @property
    def is_playing(self) -> bool:
        """False while it is held, and at the end."""

    @property
    def speed(self) -> float:
        """1.0 is as it happened."""

    @property
    def problem(self) -> str:
        """Why the sample at this place is not shown, or ""."""

    def marks(self) -> Sequence[Mark]:
        """Places worth jumping to that are known by now, in order of time."""

    async def to_finding(self, direction: int, looking: Callable[[float], None]) -> bool:
        """To where the next finding appears (-1: the one before), and hold there. False when there is none.

        May take long: `looking` is told now and then where it looks, and any other move ends it.
        """

    def toggle(self) -> None:
        """Play or hold."""

    def step(self, samples: int) -> None:
        """Hold, and go on or back by samples."""

    def seek(self, seconds: float) -> None:
        """Go there, or to the nearest end."""

    def set_speed(self, speed: float) -> None:
        """Play this many times as fast."""
