"""The keys that capture: a snapshot in files, a running recording. What writes them is handed in."""

from typing import TYPE_CHECKING, Protocol

from kvtop.domain.frame import Frame

if TYPE_CHECKING:
    from textual.app import App

    _App = App[None]
else:
    _App = object  # a part of the app, mixed in before Textual's own class


class SupportsCapture(Protocol):
    """Writes files; answers in a sentence, also when it could not."""

    def save_snapshot(self, frame: Frame) -> str:
        """Write this frame to files."""

    def toggle_recording(self) -> str:
        """Start a recording, or end the one that runs."""

    @property
    def recording_seconds(self) -> float | None:
        """For how long a recording has run; None while none does."""


class CaptureActions(_App):
    """The actions of the keys. `recorder` is None where nothing can be captured: a recording that is played, a test."""

    recorder: SupportsCapture | None = None
    frame: Frame | None

    def action_snapshot(self) -> None:
        """The frame that is shown, to files."""
        if self.recorder is not None and self.frame is not None:
            self.say(self.recorder.save_snapshot(self.frame))

    def action_record(self) -> None:
        """Start a recording, or end it."""
        if self.recorder is not None:
            self.say(self.recorder.toggle_recording())

    def say(self, sentence: str) -> None:
        """A sentence that goes away by itself."""
        self.notify(sentence, timeout=6, markup=False)
