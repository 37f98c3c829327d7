"""Reading a recording, from anybody: bounded, checked, and cleaned as if it had been measured here."""

import io
import lzma
import zipfile
import zlib
from bisect import bisect_right
from pathlib import Path
from typing import BinaryIO

import zstandard

from kvtop.domain.model_file import ModelFile
from kvtop.domain.sample import Sample
from kvtop.io.atomic_write import piped
from kvtop.sources.recordings.encoding import Info, decode_info, decode_model, decode_tick
from kvtop.sources.recordings.file_bytes import FileBytes
from kvtop.sources.recordings.framing import TICK_LIMIT_BYTES, Content, RecordIndex, RecordingError, record_index
from kvtop.sources.redaction.sanitize import sanitized

MEMBER = "recording.kvtop"
"""The recording within the archive of `kvtop report`."""

ARCHIVE_START = b"PK\x03\x04"
_MODEL_LIMIT_BYTES = 32 * 1024 * 1024
_MEMBER_LIMIT_BYTES = 128 * 1024 * 1024
"""What lies in an archive is a minute of recording; in memory it is as large as it says."""
_UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
"""What archives raise: RuntimeError for one that is encrypted or packed in a way that Python does not know."""

_FED_BYTES = 64
"""Compressed bytes at a time: so few cannot unpack to more than a few megabytes before the limit is looked at."""


class Recording:
    """An open recording. Reading ticks in order is cheap; a jump unpacks from the key tick before it."""

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        """Find every tick. Raises RecordingError for what is no recording, or of an unknown major version.

        `content`: what has been read of `path` already, where that is a pipe.
        """
        self.name = str(path)
        try:
            self._content = _content(path, content)
        except _UNREADABLE as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise RecordingError(f"{path}: cannot be read: {reason}") from error
        self._layout: RecordIndex = record_index(self._content, self.name)
        self._models: dict[int, ModelFile] = {}
        self._stream: zstandard.ZstdDecompressionObj | None = None
        self._next = -1
        self._last: tuple[int, Sample] | None = None
        if not self._layout.ticks:
            raise RecordingError(f"{path}: holds no tick")

    def __len__(self) -> int:
        return len(self._layout.ticks)

    @property
    def times(self) -> tuple[float, ...]:
        """Unix time in seconds of every tick, never falling: a clock that was set back stands still meanwhile."""
        return self._layout.times

    @property
    def info(self) -> Info | None:
        """Who wrote it; None where that was lost."""
        payload = self._layout.info.payload(self._content) if self._layout.info is not None else None
        return None if payload is None else decode_info(payload)

    @property
    def note(self) -> str:
        """What is wrong with the file, or ""."""
        if self._layout.cut_bytes:
            return f"the last {self._layout.cut_bytes} bytes are an unfinished tick: its writer was interrupted"
        return ""

    def index_at(self, time: float) -> int:
        """The last tick taken at or before that Unix time; the first one for any time before it."""
        return max(bisect_right(self._layout.times, time) - 1, 0)

    def sample(self, index: int) -> Sample:
        """The tick of that number, counted from 0. Raises IndexError, or RecordingError for a damaged tick."""
        if not 0 <= index < len(self):
            raise IndexError(f"tick {index} of {len(self)}")
        if self._last is not None and self._last[0] == index:
            return self._last[1]
        key = self._layout.key_of[index]
        if self._stream is None or not key < self._next <= index:
            self._stream, self._next = zstandard.ZstdDecompressor().decompressobj(), key
        content = b""
        while self._next <= index:
            content = self._unpacked(self._stream, self._next)
            self._next += 1
        tick = decode_tick(content, _Models(self), self.name)
        self._last = (index, sanitized(tick))
        return self._last[1]

    def model(self, number: int) -> ModelFile | None:
        """The model of that number; None where its record is damaged or missing."""
        if number not in self._models:
            if not 0 <= number < len(self._layout.models):
                return None
            payload = self._layout.models[number].payload(self._content)
            if payload is None:
                return None
            try:
                with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(payload)) as stream:
                    content = stream.read(_MODEL_LIMIT_BYTES + 1)
            except zstandard.ZstdError as error:
                raise RecordingError(f"{self.name}: a model cannot be unpacked: {error}") from error
            if len(content) > _MODEL_LIMIT_BYTES:
                raise RecordingError(f"{self.name}: a model of more than {_MODEL_LIMIT_BYTES} bytes")
            self._models[number] = decode_model(content, self.name)
        return self._models[number]

    def _unpacked(self, stream: "zstandard.ZstdDecompressionObj", index: int) -> bytes:
        payload = self._layout.ticks[index].payload(self._content)
        if payload is None:
            self._stream = None
            raise RecordingError(f"{self.name}: tick {index} is damaged")
        pieces, size_bytes = [], 0
        try:
            for start in range(0, len(payload), _FED_BYTES):
                piece = stream.decompress(payload[start : start + _FED_BYTES])
                size_bytes += len(piece)
                if size_bytes > TICK_LIMIT_BYTES:
                    raise RecordingError(f"{self.name}: tick {index} unpacks to more than {TICK_LIMIT_BYTES} bytes")
                pieces.append(piece)
        except (zstandard.ZstdError, RecordingError) as error:
            self._stream = None
            raise RecordingError(f"{self.name}: tick {index} cannot be unpacked: {error}") from error
        return b"".join(pieces)


class _Models(dict[int, ModelFile]):
    """Models by number, unpacked when a tick first names them."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self._recording.model(number) is not None

    def __getitem__(self, number: int) -> ModelFile:
        model = self._recording.model(number)
        if model is None:
            raise KeyError(number)
        return model


def _content(path: Path, content: bytes | None) -> Content:
    """The file in memory, not yet read; or the recording within a report."""
    content = piped(path, _MEMBER_LIMIT_BYTES) if content is None else content
    if content is not None:
        return _member(io.BytesIO(content), path) if content.startswith(ARCHIVE_START) else content
    with path.open("rb") as file:
        if file.read(4) == ARCHIVE_START:
            return _member(file, path)
        if file.seek(0, io.SEEK_END) == 0:
            return b""
    return FileBytes(path)


def _member(file: BinaryIO, path: Path) -> bytes:
    with zipfile.ZipFile(file) as archive:
        try:
            entry = archive.getinfo(MEMBER)
        except KeyError as error:
            raise RecordingError(f"{path}: an archive without {MEMBER}: no kvtop report") from error
        if entry.file_size > _MEMBER_LIMIT_BYTES:
            raise RecordingError(f"{path}: {MEMBER} has more than {_MEMBER_LIMIT_BYTES} bytes")
        with archive.open(entry) as member:
            return member.read(_MEMBER_LIMIT_BYTES)
