"""Atomic file writes: written beside their place under a temporary name, then renamed."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Put `content` at `path`. What was there before stays until the new file is complete and on the disk.

    A link is followed, so that what it points to is replaced and the link stays. Devices and pipes (/dev/stdout) are
    written to directly: they cannot be renamed over. Raises OSError; the temporary file is gone by then.
    """
    # Asked of the path as it is given: /dev/stdout is a link to a pipe, which has no path of its own.
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            stream.write(content)
        return
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            with suppress(FileNotFoundError):
                os.fchmod(stream.fileno(), stat.S_IMODE(target.stat().st_mode))  # a closed file stays closed
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def piped(path: Path, limit_bytes: int) -> bytes | None:
    """What a pipe holds, as in `kvtop diff <(ssh host kvtop snapshot) live`: it can be read once. None for a file.

    Raises OSError.
    """
    if not path.is_fifo():
        return None
    with path.open("rb") as stream:
        return stream.read(limit_bytes)
