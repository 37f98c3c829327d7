"""Small text files of sysfs and procfs, read so that none of them can hurt: bounded, and None for whatever is odd."""

import os
from pathlib import Path

LIMIT_BYTES = 16 * 1024
_LARGEST = 1 << 62
"""More bytes than any memory has: a larger number is not believed."""


def read_text(path: Path | str) -> str | None:
    """The first 16 KiB; None where it is not there, may not be read, or the driver answers with an error."""
    try:
        # Not Path.read_text: a file that never ends must not be read to its end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        return os.read(descriptor, LIMIT_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_whole(path: Path | str) -> int | None:
    """A file that holds one number, decimal, not negative; None for anything else."""
    return whole((read_text(path) or "").strip())


def whole(text: str, below: int = _LARGEST) -> int | None:
    """A decimal number below that limit, or None. Without one it may be a count of bytes."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        return None
    number = int(text)
    return number if number < below else None


def names_in(folder: Path | str) -> list[str]:
    """The names in a folder, sorted; none where it cannot be listed."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208  names are wanted, not paths
    except OSError:
        return []
