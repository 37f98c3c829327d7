"""What a type of KV cache does to speed, as far as that follows from backend, build and shapes."""

from dataclasses import dataclass
from enum import StrEnum


class Speed(StrEnum):
    """How attention over a cache of these types runs."""

    FINE = "fine"
    CONVERTS = "converts"
    """The used cache is turned into f16 for every generated token."""
    ON_CPU = "on cpu"
    """The device has no kernel: attention runs on the CPU, in most cases without a word."""
    ONE_AT_A_TIME = "one at a time"
    """The server answers one request after the other with this cache."""
    UNKNOWN = "unknown"
    """It depends on a backend or a build that nobody stated."""


@dataclass(frozen=True, slots=True)
class CacheSpeed:
    """`note` says why, "" where there is nothing to say; `source` is where that was read."""

    speed: Speed
    note: str = ""
    source: str = ""

    @property
    def is_safe(self) -> bool:
        """Whether it may be recommended: known, and on the device without a conversion."""
        return self.speed is Speed.FINE
