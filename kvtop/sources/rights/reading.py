"""Work on files that a process names: with its rights, in a thread of its own, for so long and no longer."""

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from kvtop.io.daemon_thread import started
from kvtop.sources.rights.credentials import credentials_of, own_credentials
from kvtop.sources.rights.permission_bits import checked_for, opened_for
from kvtop.sources.rights.thread_credentials import can_switch, switched_to

T = TypeVar("T")

WAIT_SECONDS = 2.0
"""A file on a dead network mount never answers, and the other servers must not wait for it."""
_STUCK_MOST = 32
_stuck: dict[tuple[int, str], threading.Thread] = {}
_lock = threading.Lock()


@contextmanager
def as_process(pid: int, proc: Path = Path("/proc")) -> Iterator[None]:
    """What this thread opens meanwhile the process could open too. OSError where its rights cannot be told."""
    theirs, ours = credentials_of(pid, proc), own_credentials()
    if theirs.uid == ours.uid:
        yield
    elif can_switch():
        with switched_to(theirs), opened_for(theirs):
            yield
    else:
        with checked_for(theirs), opened_for(theirs):
            yield


def read_as(pid: int, what: str, work: Callable[[], T], proc: Path = Path("/proc"), seconds: float = WAIT_SECONDS) -> T:
    """The result of `work`, done `as_process(pid)` and `in_time`, or its exception."""

    def restricted() -> T:
        with as_process(pid, proc):
            return work()

    return in_time(pid, what, restricted, seconds)


def in_time(pid: int, what: str, work: Callable[[], T], seconds: float = WAIT_SECONDS) -> T:
    """The result of `work`, or its exception; TimeoutError after so many seconds; NoThreadError.

    `what` names the work: while an earlier one of that name still waits for its file, there is no second.
    """
    key = (pid, what)
    with _lock:
        for known in [known for known, it in _stuck.items() if not it.is_alive()]:
            del _stuck[known]
        if key in _stuck or len(_stuck) >= _STUCK_MOST:
            raise TimeoutError(errno.ETIMEDOUT, "the file system does not answer")
    outcome: list[tuple[T | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:  # noqa: BLE001  handed on to whoever asked
            outcome.append((None, error))

    thread = threading.Thread(target=run, name="kvtop reads for a server", daemon=True)
    started(thread)
    thread.join(seconds)
    if not outcome:
        with _lock:
            _stuck[key] = thread
        raise TimeoutError(errno.ETIMEDOUT, "the file system does not answer")
    ((result, raised),) = outcome
    if raised is not None:
        raise raised
    return result  # type: ignore[return-value]  # None is a T where work returns None
