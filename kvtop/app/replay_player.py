"""What the Recording screen moves: a recording's player, and the findings met on the way."""

import asyncio
from bisect import insort
from collections.abc import AsyncIterator, Callable, Sequence

from kvtop.app.replay import finding_search
from kvtop.domain.answers.mark import Mark
from kvtop.domain.frame import Frame
from kvtop.sources.recordings.player import Player

_WORK_SECONDS = 0.02
_REST_SECONDS = 0.01
"""A search works so long and then lets keys and drawing have the loop: a key is answered within 50 ms."""


class ReplayPlayer:
    """The player as the views know it (`kvtop.views.tui.state.player.Player`): seconds from the recording's start."""

    def __init__(self, player: Player, name: str) -> None:
        self.name = name
        self._player = player
        self._marks: list[Mark] = []
        self._known: frozenset[tuple[str, str]] | None = None

    @property
    def duration_seconds(self) -> float:
        """From the first tick to the last."""
        return self._player.duration_seconds

    @property
    def position_seconds(self) -> float:
        """From the first tick to the one that is shown."""
        return self._player.elapsed_seconds

    @property
    def is_playing(self) -> bool:
        """Whether playback is running."""
        return self._player.is_playing

    @property
    def speed(self) -> float:
        """Recorded seconds a second."""
        return self._player.speed

    @property
    def problem(self) -> str:
        """Why the tick at this place is not shown, or ""."""
        return self._player.problem

    def marks(self) -> Sequence[Mark]:
        """Where findings appeared, as far as the recording has been shown."""
        return self._marks

    def toggle(self) -> None:
        """Play or hold."""
        self._player.toggle()

    def step(self, samples: int) -> None:
        """Hold, and go on or back by ticks."""
        self._player.step(samples)

    def seek(self, seconds: float) -> None:
        """To the last tick at or before."""
        self._player.seek(self._player.recording.times[0] + seconds)

    def set_speed(self, speed: float) -> None:
        """Play this many times as fast."""
        self._player.set_speed(speed)

    async def to_finding(self, direction: int, looking: Callable[[float], None]) -> bool:
        """To the next tick with a new finding, or the one before; the screen goes on meanwhile."""
        player, loop = self._player, asyncio.get_running_loop()
        player.pause()
        origin, times = player.index, player.recording.times
        search = finding_search(player.recording, origin, direction)
        rests_at = loop.time() + _WORK_SECONDS
        while True:
            try:
                number = next(search)
            except StopIteration as end:
                if end.value is None:
                    return False
                player.step(end.value - player.index)
                return True
            if loop.time() >= rests_at:
                looking(times[number] - times[0])
                await asyncio.sleep(_REST_SECONDS)
                if player.index != origin or player.is_playing:  # the person went elsewhere
                    return True
                rests_at = loop.time() + _WORK_SECONDS

    def noting(self, frames: Callable[[], AsyncIterator[Frame]]) -> Callable[[], AsyncIterator[Frame]]:
        """The same frames; findings that appear from one to the next are marked."""

        async def noted() -> AsyncIterator[Frame]:
            async for frame in frames():
                self._note(frame)
                yield frame

        return noted

    def _note(self, frame: Frame) -> None:
        now = {(view.reading.id, it.code): it.message for view in frame.servers for it in view.findings}
        for finding in sorted(now.keys() - (self._known or frozenset())):
            mark = Mark(self.position_seconds, f"{finding[1]} on {finding[0]}: {now[finding]}")
            if all(it.words != mark.words or it.at_seconds != mark.at_seconds for it in self._marks):
                insort(self._marks, mark, key=lambda it: it.at_seconds)
        self._known = frozenset(now)
