"""How fast a configuration will probably generate tokens: an estimate from bytes read and bandwidths."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemoryRead:
    """What one generated token reads of one memory ("gpu0", "host"), and how fast that memory is.

    `low` and `high` are the ends where the bandwidth itself is a guess; both equal the value where it is known.
    `source` says where the bandwidth is from.
    """

    name: str
    read_bytes: int
    bytes_per_second: int
    low_bytes_per_second: int
    high_bytes_per_second: int
    source: str


@dataclass(frozen=True, slots=True)
class DecodeSpeed:
    """Tokens per second of one sequence with `at_tokens` in its cache: likely, and a range.

    `basis` says how it follows and what it was checked against.
    """

    tokens_per_second: float
    low: float
    high: float
    at_tokens: int
    reads: tuple[MemoryRead, ...]
    basis: str
