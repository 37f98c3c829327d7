"""What `kvtop doctor` found: everything that was probed, what it answered, and the one thing to do where it did not."""

from dataclasses import dataclass
from enum import StrEnum

from kvtop.domain.driver import Driver


class Outcome(StrEnum):
    """How one probe went."""

    OK = "ok"
    NOTE = "note"
    """Nothing that was wanted is missing, but a person should know."""
    FAILED = "failed"
    """Something that was wanted could not be read."""


class Area(StrEnum):
    """What a probe is about, in the order in which they are shown."""

    DRIVERS = "drivers"
    PROCESSES = "processes"
    ENDPOINTS = "endpoints"
    MODEL_FILES = "model files"


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that was looked at. `remedy` is the one thing to do about it, or ""."""

    area: Area
    subject: str
    outcome: Outcome
    answer: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ProbedHost:
    """What the machine has, apart from what its drivers say.

    `drivers` are those that kvtop asks here, `engines` the servers that it recognises. `makers` are the
    makers of the accelerators on its buses; None: that cannot be told here.
    `discovers`: processes are looked through.
    """

    drivers: tuple[Driver, ...]
    engines: tuple[str, ...]
    makers: frozenset[str] | None = None
    discovers: bool = True


@dataclass(frozen=True, slots=True)
class Checkup:
    """All probes of one look. `taken_at` is Unix time in seconds."""

    host: str
    taken_at: float
    kvtop_version: str
    probes: tuple[Probe, ...]
    server_count: int
    is_demo: bool = False
    """The host is invented."""

    def failed(self) -> tuple[Probe, ...]:
        """The probes of what was wanted and could not be read."""
        return tuple(probe for probe in self.probes if probe.outcome is Outcome.FAILED)
