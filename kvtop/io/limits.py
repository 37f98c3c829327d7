"""Limits of time and memory for work on values that strangers chose. Python alone can be stopped, a C function not.

A watching thread raises LimitExceededError inside the working one (PyThreadState_SetAsyncExc): a process of its own
for each server would be safer still, and would cost tens of MiB and each plan its pickling.
"""

import ctypes
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from kvtop.domain.answers.fault import LimitExceededError

T = TypeVar("T")

SECONDS = 5.0
"""Of the processor, so that a busy machine changes nothing. The slowest plan of a real model takes a tenth of one."""
MEMORY_BYTES = 256 << 20
_LOOK_SECONDS = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class _TimeError(LimitExceededError):
    def __init__(self) -> None:
        super().__init__(f"more than {SECONDS:.0f} s")


class _MemoryError(LimitExceededError):
    def __init__(self) -> None:
        super().__init__(f"more than {MEMORY_BYTES >> 20} MiB")


@dataclass(frozen=True, slots=True)
class _Job:
    worker: int
    ends: float
    most_bytes: int

    def seconds(self) -> float:
        """What the working thread has used of the processor; the time that passes where nobody counts that (macOS)."""
        if not hasattr(time, "pthread_getcpuclockid"):
            return time.monotonic()
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(self.worker))
        except OSError:
            return self.ends  # the thread is gone, and its work with it


class _Watcher:
    """One thread for all work under limits; it sleeps while there is none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: dict[int, _Job] = {}
        self._thread: threading.Thread | None = None

    def begin(self, job: _Job) -> None:
        with self._changed:
            self._jobs[job.worker] = job
            if self._thread is None:
                thread = threading.Thread(target=self._watch, name="kvtop limits", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the machine gives no thread now: unwatched rather than undone
                    return
                self._thread = thread
            self._changed.notify()

    def end(self, job: _Job) -> None:
        with self._changed:
            if self._jobs.get(job.worker) is job:
                del self._jobs[job.worker]
            # What was raised and has not arrived must not arrive in other work.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(job.worker), None)

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._changed.wait()
                held_bytes = resident_bytes()
                for worker, job in list(self._jobs.items()):
                    is_late = job.seconds() > job.ends
                    if is_late or held_bytes > job.most_bytes:
                        del self._jobs[worker]
                        kind = _TimeError if is_late else _MemoryError
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker), ctypes.py_object(kind))
            time.sleep(_LOOK_SECONDS)


_watcher = _Watcher()


def limited(work: Callable[[], T]) -> T:
    """The result of `work`. LimitExceededError where it takes more time or memory than one server may."""
    job = _Job(threading.get_ident(), 0.0, resident_bytes() + MEMORY_BYTES)
    job = replace(job, ends=job.seconds() + SECONDS)
    _watcher.begin(job)
    try:
        return work()
    finally:
        _watcher.end(job)


def resident_bytes() -> int:
    """The resident set of kvtop itself; 0 where it cannot be read."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0
