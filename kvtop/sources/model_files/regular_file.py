"""Open a file that somebody else named, without waiting for it and without taking a pipe or a device for a file."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from kvtop.domain.model_file import ModelFileError
from kvtop.sources.rights.permission_bits import check_readable
from kvtop.sources.rights.root_of_process import open_in_root


@contextmanager
def open_regular(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """The open file and its size in bytes. ModelFileError for everything that is not a readable regular file, and for
    I/O errors while it is open."""
    try:
        file = open(path, "rb", buffering=0, opener=open_descriptor)  # noqa: SIM115 -- closed below; errors differ in words
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


def open_descriptor(path: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file. Nothing else is even opened: that arms a watchdog, or rewinds a tape.

    Raises OSError.
    """
    flags |= os.O_NONBLOCK | os.O_CLOEXEC
    if not hasattr(os, "O_PATH"):  # Linux only
        check_readable(path)
        return os.open(path, flags)
    handle = open_in_root(path)
    if handle is None:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        check_readable(path, status)
        return os.open(f"/proc/self/fd/{handle}", flags)
    finally:
        os.close(handle)
