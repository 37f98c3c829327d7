"""Writing a recording: append only, one system call a tick, and nothing half when the disk is full."""

import os
from dataclasses import dataclass
from pathlib import Path

import zstandard

from kvtop.domain.model_file import ModelFile
from kvtop.domain.sample import Sample
from kvtop.sources.recordings.encoding import Info, encode_info, encode_model, encode_tick
from kvtop.sources.recordings.framing import (
    FIRST_LINE,
    INFO,
    KEY_TICK,
    MODEL,
    TICK,
    TICK_LIMIT_BYTES,
    RecordingError,
    record,
)

KEY_EVERY_TICKS = 120
"""Ticks between two places where reading can start: more of them make seeking faster and the file larger."""

_MODELS_LEVEL, _TICKS_LEVEL = 12, 6


@dataclass(slots=True)
class _Numbered:
    model: ModelFile
    number: int


class RecordingWriter:
    """Writes one file. After an error it is closed, and everything before the error can be read."""

    def __init__(self, path: Path, info: Info, *, max_bytes: int | None = None) -> None:
        """Create the file, which must not exist yet. Raises RecordingError."""
        self.path = path
        self.ticks = 0
        self.size_bytes = 0
        self.is_full = False
        """The next tick would have exceeded `max_bytes`; the file is complete and closed."""
        self._max_bytes = max_bytes
        self._models: dict[str, _Numbered] = {}
        self._numbers = 0
        self._stream: zstandard.ZstdCompressionObj | None = None
        self._since_key = 0
        try:
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise RecordingError(f"{path}: cannot be written: {error.strerror}") from error
        self._append(FIRST_LINE + record(INFO, 0.0, encode_info(info)))

    def write(self, sample: Sample) -> bool:
        """Append one tick; False once the file has its largest permitted size. Raises RecordingError and closes."""
        if self._file is None:
            return False
        pieces = []
        for key, model in sample.models.items():
            known = self._models.get(key)
            if known is None or known.model is not model:
                packed = zstandard.ZstdCompressor(level=_MODELS_LEVEL).compress(encode_model(model))
                pieces.append(record(MODEL, sample.taken_at, packed))
                self._models[key] = _Numbered(model, self._numbers)
                self._numbers += 1
        is_key = self._stream is None or self._since_key >= KEY_EVERY_TICKS
        if self._stream is None or is_key:
            self._stream = zstandard.ZstdCompressor(level=_TICKS_LEVEL).compressobj()
        try:
            content = encode_tick(sample, {key: self._models[key].number for key in sample.models})
        except OverflowError as error:
            raise self._ended("a number that 64 bits do not hold") from error
        if len(content) > TICK_LIMIT_BYTES:
            raise self._ended(f"a tick of more than {TICK_LIMIT_BYTES} bytes, which no reader takes")
        packed = self._stream.compress(content) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        pieces.append(record(KEY_TICK if is_key else TICK, sample.taken_at, packed))
        content = b"".join(pieces)
        if self._max_bytes is not None and self.size_bytes + len(content) > self._max_bytes:
            self.is_full = True
            self.close()
            return False
        self._append(content)
        self._since_key = 1 if is_key else self._since_key + 1
        self.ticks += 1
        return True

    def _ended(self, why: str) -> RecordingError:
        """Close, and what to raise."""
        self.close()
        return RecordingError(f"{self.path}: {why}; recording stopped, the {self.ticks} ticks before can be read")

    def close(self) -> None:
        """Bring everything to the disk and close; again is harmless."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                os.fsync(file)
            except OSError:
                pass  # a pipe or a file system without it: what could be written has been
            finally:
                os.close(file)

    def _append(self, content: bytes) -> None:
        if self._file is None:
            return
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            # Half a record at the end would be skipped by readers anyway; without it the file is simply whole.
            os.ftruncate(self._file, self.size_bytes)
            self.close()
            raise RecordingError(
                f"{self.path}: {error.strerror}; recording stopped, the {self.ticks} ticks before can be read"
            ) from error
        self.size_bytes += len(content)
