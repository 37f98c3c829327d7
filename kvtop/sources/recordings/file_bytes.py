"""A file as a sequence of bytes that are read when they are asked for."""

import os
from pathlib import Path


class RecordingError(Exception):
    """A recording that cannot be read or written. str() names the file and says why."""


class FileBytes:
    """The bytes of a file as long as it was when it was opened; what is cut from it meanwhile is missing.

    Not a memory map: reading behind the end of a file that was cut would end this process (SIGBUS).
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size_bytes = os.fstat(self._descriptor).st_size

    def __len__(self) -> int:
        return self._size_bytes

    def __getitem__(self, part: slice) -> bytes:
        """Raises RecordingError where the disk does not give them."""
        start, stop, _ = part.indices(self._size_bytes)
        pieces = []
        try:
            while start < stop and (piece := os.pread(self._descriptor, stop - start, start)):
                pieces.append(piece)
                start += len(piece)
        except OSError as error:
            raise RecordingError(f"{self._path}: cannot be read: {error.strerror}") from error
        return b"".join(pieces)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)
