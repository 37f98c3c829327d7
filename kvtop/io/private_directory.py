"""A folder of this user's own for small files that live as long as a process: nobody else may read or plant there."""

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path


def private_directory(environ: Mapping[str, str]) -> Path:
    """`$XDG_RUNTIME_DIR/kvtop`, or `kvtop-UID` in the temporary folder; made with mode 0700 where it is missing.

    Raises OSError where it cannot be made, or belongs to another user, or is open to others.
    """
    base = environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir() and os.access(base, os.W_OK):
        path = Path(base) / "kvtop"
    else:
        path = Path(environ.get("TMPDIR") or tempfile.gettempdir()) / f"kvtop-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(f"{path} is open to others: chmod 700 it, or remove it")
    return path
