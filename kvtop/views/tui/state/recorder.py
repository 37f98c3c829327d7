"""The keys that capture: a snapshot in files, a running recording. What writes them is handed in."""

from collections.abc import Callable
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


class SupportsCopy(Protocol):
    """Keeps what is copied where the terminal's clipboard may refuse it."""

    def keep(self, text: str) -> str:
        """Keep it, and report where; "" where nowhere."""


class CaptureActions(_App):
    """The actions of the keys. `recorder` is None where nothing can be captured: a recording that is played, a test.

    `copier` keeps copied texts, None where no file may be written. `explain` gives the page of a rule by its code.
    """

    recorder: SupportsCapture | None = None
    copier: SupportsCopy | None = None
    explain: Callable[[str], str] | None = None
    frame: Frame | None

    def action_snapshot(self) -> None:
        """The frame that is shown, to files."""
        if self.recorder is not None and self.frame is not None:
            self.say(self.recorder.save_snapshot(self.frame))

    def action_record(self) -> None:
        """Start a recording, or end it."""
        if self.recorder is not None:
            self.say(self.recorder.toggle_recording())

    def copy(self, text: str) -> None:
        """To the terminal's clipboard (OSC 52), which never answers, and to where it can be found for sure."""
        self.copy_to_clipboard(text)
        kept = "" if self.copier is None else self.copier.keep(text)
        self.notify(f"Sent to the terminal{'; ' + kept if kept else ''}", title="Copy", timeout=3, markup=False)

    def say(self, sentence: str) -> None:
        """A sentence that goes away by itself."""
        self.notify(sentence, timeout=6, markup=False)
