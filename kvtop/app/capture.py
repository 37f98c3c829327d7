"""Captures while the dashboard runs: snapshots in files, and a recording.

Both answer in a sentence for the status line, and neither ever breaks the dashboard: a full disk is a sentence too.
"""

import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kvtop import __version__
from kvtop.domain.frame import Frame
from kvtop.domain.sample import Sample
from kvtop.io.atomic_write import write_atomic
from kvtop.text import bytes_text, duration_text

if TYPE_CHECKING:
    from kvtop.sources.recordings.writer import RecordingWriter

SNAPSHOT_FORMATS = (("json", "json"), ("md", "markdown"), ("svg", "svg"))


class Recorder:
    """Writes snapshots and recordings to one directory. Use from the dashboard's event loop.

    `render(frame, format)` writes a frame out as text; the command hands it in, for views are no concern of the wiring.
    """

    def __init__(self, directory: Path, interval_seconds: float, render: Callable[[Frame, str], str]) -> None:
        self.directory = directory
        self.path: Path | None = None
        """The recording that is being written, or None."""
        self.problem = ""
        """Why the last recording ended by itself, or ""."""
        self.tell: Callable[[str], None] | None = None
        """Told the sentence when a recording ends by itself."""
        self._interval_seconds = interval_seconds
        self._render = render
        self._started = 0.0
        self._writer: RecordingWriter | None = None

    @property
    def status(self) -> str:
        """For the status line: "recording 3m, 12.0 KiB", why the last one ended, or ""."""
        if self._writer is None:
            return self.problem
        return f"recording {duration_text(time.monotonic() - self._started)}, {bytes_text(self._writer.size_bytes)}"

    @property
    def recording_seconds(self) -> float | None:
        """For how long the recording has run; None while none does."""
        return None if self._writer is None else time.monotonic() - self._started

    def save_snapshot(self, frame: Frame) -> str:
        """Write the frame as JSON, Markdown and SVG; the sentence names the files or says what went wrong."""
        stem = f"kvtop-{_stamp()}"
        try:
            for suffix, wanted in SNAPSHOT_FORMATS:
                write_atomic(self.directory / f"{stem}.{suffix}", self._render(frame, wanted).encode())
        except OSError as error:
            return f"no snapshot: {self.directory}: {error.strerror or error}"
        suffixes = ", ".join(f".{suffix}" for suffix, _ in SNAPSHOT_FORMATS)
        return f"snapshot in {self.directory / stem} ({suffixes})"

    def toggle_recording(self) -> str:
        """Start a recording, or end the one that runs."""
        if self._writer is not None:
            writer, self._writer, self.path = self._writer, None, None
            writer.close()
            return f"{writer.ticks} ticks in {writer.path}, {bytes_text(writer.size_bytes)}"
        from kvtop.sources.recordings.encoding import Info  # noqa: PLC0415  only for those who record
        from kvtop.sources.recordings.framing import RecordingError  # noqa: PLC0415
        from kvtop.sources.recordings.writer import RecordingWriter  # noqa: PLC0415

        path = self.directory / f"kvtop-{_stamp()}.kvtop"
        try:
            self._writer = RecordingWriter(path, Info(__version__, self._interval_seconds))
        except RecordingError as error:
            return f"no recording: {error}"
        self.path, self.problem, self._started = path, "", time.monotonic()
        return f"recording to {path}"

    def watched(self, samples: Callable[[], AsyncIterator[Sample]]) -> Callable[[], AsyncIterator[Sample]]:
        """The same iterator, written down while a recording runs."""

        async def through() -> AsyncIterator[Sample]:
            async for sample in samples():
                self._write(sample)
                yield sample

        return through

    def close(self) -> str:
        """End the recording that runs, and say where it is; "" when none does."""
        return self.toggle_recording() if self._writer is not None else ""

    def _write(self, sample: Sample) -> None:
        if self._writer is None:
            return
        from kvtop.sources.recordings.framing import RecordingError  # noqa: PLC0415  imported already

        try:
            self._writer.write(sample)
        except RecordingError as error:
            self.problem = str(error)
            self._writer, self.path = None, None
            if self.tell is not None:
                self.tell(self.problem)


def _stamp() -> str:
    return datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")


class NoCapture:
    """Answers the keys that capture where nothing may be written, with the reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self.recording_seconds: float | None = None

    def save_snapshot(self, frame: Frame) -> str:  # noqa: ARG002 -- the same as Recorder's
        """The reason."""
        return self._reason

    def toggle_recording(self) -> str:
        """The reason."""
        return self._reason
