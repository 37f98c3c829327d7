"""One input under the limits of the fuzzers: which errors a reader may raise, how long and how much it may take."""

import resource
import sys
import time
from contextlib import suppress

from tests.fuzz.readers import MOST_BYTES, MOST_SECONDS, READERS

_UNIT = 1 if sys.platform == "darwin" else 1024


class LimitError(AssertionError):
    """A reader that took too much."""


def peak_bytes() -> int:
    """The most that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def read_within_limits(name: str, data: bytes) -> None:
    """Raises what the reader must not raise, and LimitError. Time is the thread's own, not the machine's."""
    reader, expected = READERS[name]
    before_bytes, started = peak_bytes(), time.thread_time()
    with suppress(*expected):
        reader(data)
    took_seconds, took_bytes = time.thread_time() - started, peak_bytes() - before_bytes
    if took_seconds > MOST_SECONDS:
        raise LimitError(f"{name}: {took_seconds:.2f} s for {len(data)} bytes")
    if took_bytes > MOST_BYTES:
        raise LimitError(f"{name}: {took_bytes >> 20} MiB for {len(data)} bytes")
