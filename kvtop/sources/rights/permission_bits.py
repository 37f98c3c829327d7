"""Whether another user could read a file, by the modes along its path: for a kvtop that cannot take that user's rights.

An access control list is not understood, so whoever is not the owner is refused then.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from kvtop.sources.rights.credentials import Credentials

_ACL = "system.posix_acl_access"
_READ, _PASS = 4, 1
_asking: ContextVar[Credentials | None] = ContextVar("for whom files are checked", default=None)
_opened_for: ContextVar[Credentials | None] = ContextVar("for whom files are opened", default=None)

CLOSED = "closed to the server's own user"
CLOSED_REMEDY = "see whether the server runs: kvtop opens for it only what it could open itself"


@contextmanager
def opened_for(wanted: Credentials) -> Iterator[None]:
    """In this thread `is_restricted` is true: it works for `wanted`, another user than kvtop's."""
    token = _opened_for.set(wanted)
    try:
        yield
    finally:
        _opened_for.reset(token)


def is_restricted() -> bool:
    """Whether this thread may open less than kvtop could: a refusal is the server's own then."""
    return _opened_for.get() is not None


@contextmanager
def checked_for(wanted: Credentials) -> Iterator[None]:
    """In this thread `check_readable` asks whether `wanted` may read."""
    token = _asking.set(wanted)
    try:
        yield
    finally:
        _asking.reset(token)


def check_readable(path: str, status: os.stat_result | None = None) -> None:
    """PermissionError where the process that named this path could not read what lies there, links followed.

    `status`: of what was opened there, so that it is the same thing that is checked.
    """
    wanted = _asking.get()
    if wanted is None:
        return
    real = Path(os.path.realpath(path))
    found = real.stat()
    if status is not None and (found.st_ino, found.st_dev) != (status.st_ino, status.st_dev):
        raise PermissionError(errno.EACCES, CLOSED, path)
    steps = [(folder, folder.stat(), _PASS) for folder in real.parents]
    for place, it, needed in ((real, status or found, _READ), *steps):
        if not wanted.may(it, needed) or (wanted.uid not in {0, it.st_uid} and _has_acl(place)):
            raise PermissionError(errno.EACCES, CLOSED, path)


def _has_acl(path: Path) -> bool:
    if not hasattr(os, "listxattr"):
        return False
    try:
        return _ACL in os.listxattr(path)
    except OSError:
        return False
