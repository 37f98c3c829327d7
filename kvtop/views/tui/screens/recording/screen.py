"""A recording under way: where it is, play and hold, step, seek, jump to what stands out."""

from typing import ClassVar

from textual.binding import BindingType

from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import RECORDING
from kvtop.views.tui.screens.recording.page import recording_lines
from kvtop.views.tui.screens.screen import PageScreen, bindings_of
from kvtop.views.tui.state.player import SupportsReplay
from kvtop.views.tui.widgets.lines import Line

_SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)


class RecordingScreen(PageScreen):
    """The seek bar and the places worth a look. The picture itself is on the other screens, which go on working."""

    key = RECORDING
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(RECORDING)

    def __init__(self) -> None:
        super().__init__()
        self._looking_at_seconds: float | None = None

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        del frame
        return "Recording", recording_lines(self.kvtop.player, width, self._looking_at_seconds)

    def works(self, action: str) -> bool:
        player = self.kvtop.player
        if action in {"skip", "speed", "seek", "mark"}:
            return player is not None
        return super().works(action)

    def _player(self) -> SupportsReplay:
        player = self.kvtop.player
        assert player is not None, "works() lets no action through without a player"
        return player

    def action_skip(self, parts: int) -> None:
        """A twentieth of the whole on or back."""
        player = self._player()
        self.action_seek(player.position_seconds + parts * player.duration_seconds / 20)

    def action_seek(self, seconds: float) -> None:
        """There."""
        self._player().seek(seconds)
        self.draw()

    def action_mark(self, step: int) -> None:
        """To the next thing worth a look, or the one before."""
        self.run_worker(self._search(self._player(), step), name="search", group="search", exclusive=True)

    async def _search(self, player: SupportsReplay, step: int) -> None:
        try:
            if not await player.to_finding(step, self._show_search):
                self.notify("There is none.", title="Finding", timeout=2)
        finally:
            self._looking_at_seconds = None
            self.draw()

    def _show_search(self, seconds: float) -> None:
        """Once for each minute of the recording: a slow line has enough to carry."""
        if self._looking_at_seconds is None or int(seconds) // 60 != int(self._looking_at_seconds) // 60:
            self._looking_at_seconds = seconds
            self.draw()

    def action_speed(self, step: int) -> None:
        """Faster or slower."""
        player = self._player()
        near = min(range(len(_SPEEDS)), key=lambda index: abs(_SPEEDS[index] - player.speed))
        player.set_speed(_SPEEDS[min(max(near + step, 0), len(_SPEEDS) - 1)])
        self.draw()
