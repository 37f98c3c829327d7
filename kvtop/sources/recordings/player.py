"""Playing a recording: a cursor that a person moves, and the Samples it passes as the usual iterator."""

import asyncio
import time
from collections.abc import AsyncIterator

from kvtop.domain.sample import Sample
from kvtop.sources.recordings.framing import RecordingError
from kvtop.sources.recordings.reader import Recording

SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
"""What the speed keys go through; any positive number may be set."""


class Player:
    """A cursor in a recording. Use from one event loop; every move wakes the iterator at once."""

    def __init__(self, recording: Recording, *, index: int = 0, speed: float = 1.0, playing: bool = True) -> None:
        self.recording = recording
        self.index = min(max(index, 0), len(recording) - 1)
        self.speed = speed
        self.is_playing = playing
        self.problem = ""
        """Why the tick under the cursor is not shown, or ""."""
        self._moved = asyncio.Event()

    @property
    def time(self) -> float:
        """Unix time in seconds of the tick under the cursor."""
        return self.recording.times[self.index]

    @property
    def elapsed_seconds(self) -> float:
        """From the first tick to the cursor."""
        return self.time - self.recording.times[0]

    @property
    def duration_seconds(self) -> float:
        """From the first tick to the last."""
        return self.recording.times[-1] - self.recording.times[0]

    @property
    def is_at_end(self) -> bool:
        """Whether the cursor is on the last tick."""
        return self.index == len(self.recording) - 1

    def play(self) -> None:
        """Go on; from the start when the end has been reached."""
        if self.is_at_end:
            self.index = 0
        self.is_playing = True
        self._moved.set()

    def pause(self) -> None:
        """Stay on this tick."""
        self.is_playing = False
        self._moved.set()

    def toggle(self) -> None:
        """Play or pause."""
        if self.is_playing:
            self.pause()
        else:
            self.play()

    def step(self, ticks: int) -> None:
        """Pause, and move by so many ticks, backwards if negative; the ends hold."""
        self.is_playing = False
        self._move(self.index + ticks)

    def seek(self, time_: float) -> None:
        """Move to the last tick taken at or before that Unix time."""
        self._move(self.recording.index_at(time_))

    def seek_by(self, seconds: float) -> None:
        """Move by so many seconds, but by one tick at least."""
        index = self.recording.index_at(self.time + seconds)
        if index == self.index:
            index += 1 if seconds > 0 else -1
        self._move(index)

    def set_speed(self, speed: float) -> None:
        """How many recorded seconds pass in one. Raises ValueError unless positive."""
        if not speed > 0:
            raise ValueError(f"the speed must be above 0, got {speed:g}")
        self.speed = speed
        self._moved.set()

    def change_speed(self, steps: int) -> None:
        """The next faster (or slower) of SPEEDS."""
        nearest = min(range(len(SPEEDS)), key=lambda at: abs(SPEEDS[at] - self.speed))
        self.set_speed(SPEEDS[min(max(nearest + steps, 0), len(SPEEDS) - 1)])

    def sample(self, index: int) -> Sample:
        """The tick of that number, or the nearest readable one: before it, else after it.

        Raises RecordingError when there is none.
        """
        at = max(index, 0)
        for candidate in (*range(at, -1, -1), *range(at + 1, len(self.recording))):
            try:
                return self.recording.sample(candidate)
            except RecordingError as error:
                self.problem = str(error)
        raise RecordingError(self.problem)

    async def samples(self) -> AsyncIterator[Sample]:
        """The Sample under the cursor, then another one whenever it moves; never ends by itself.

        Ticks come at their recorded distance divided by `speed`. A gap in the recording is waited for at most two
        seconds: nobody wants to watch a machine that slept.
        """
        shown = -1
        due = time.monotonic()
        while True:
            if shown != self.index:
                shown = self.index
                self.problem = ""
                yield self.sample(shown)
                due = max(due, time.monotonic() - 0.5)
            if self._moved.is_set():
                self._moved.clear()
                due = time.monotonic()
                continue
            if not self.is_playing or self.is_at_end:
                self.is_playing = False
                await self._moved.wait()
                continue
            gap = min(self.recording.times[self.index + 1] - self.time, 2.0 * max(self.speed, 1.0)) / self.speed
            due += max(gap, 0.0)
            try:
                await asyncio.wait_for(self._moved.wait(), max(due - time.monotonic(), 0.0))
            except TimeoutError:
                if self.index == shown:
                    self.index += 1

    def _move(self, index: int) -> None:
        self.index = min(max(index, 0), len(self.recording) - 1)
        self._moved.set()
