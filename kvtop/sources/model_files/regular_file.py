"""Open a file that somebody else named, without waiting for it and without taking a pipe or a device for a file."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from kvtop.domain.model_file import ModelFileError


@contextmanager
def open_regular(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """The open file and its size in bytes. ModelFileError for everything that is not a readable regular file, and for
    I/O errors while it is open."""
    try:
        file = open(path, "rb", buffering=0, opener=_never_wait)  # noqa: SIM115 -- closed below; errors differ in words
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ModelFileError(f"{path}: {_reason(error)}") from error
    with file:
        try:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError(f"{path}: not a regular file")
            yield file, status.st_size
        except OSError as error:
            raise ModelFileError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _never_wait(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
