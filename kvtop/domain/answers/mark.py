"""A place in a recording worth jumping to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """Seconds since the recording's start, and what is there (a finding, a gap)."""

    at_seconds: float
    words: str
