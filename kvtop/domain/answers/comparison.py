"""Two states of a host side by side, and what differs between them."""

from dataclasses import dataclass
from enum import StrEnum

from kvtop.domain.figure import NOTHING, UNKNOWN, Figure
from kvtop.domain.memory import Memory


@dataclass(frozen=True, slots=True)
class DeviceHolding:
    """What one device holds of a server: the whole, and the segments of it that somebody speaks of."""

    device_id: str
    total: Figure
    memory: Memory


@dataclass(frozen=True, slots=True)
class ComparedServer:
    """What is compared of one server. `options` are (name, value) of its effective launch options, None: unknown.

    `findings` are (code, message). How full a cache is at the moment is no part of it: that changes with every request.
    """

    id: str
    engine: str
    version: str | None
    model: str | None
    options: tuple[tuple[str, str], ...] | None
    type_k: str | None
    type_v: str | None
    capacity_tokens: int | None
    bytes_per_token: float | None
    slots: int | None
    slot_context_tokens: int | None
    devices: tuple[DeviceHolding, ...]
    findings: tuple[tuple[str, str], ...]
    unasked_rules: tuple[str, ...] = ()
    """Codes of rules that could not be asked: that they are not among the findings proves nothing."""

    @property
    def memory(self) -> Memory:
        """All devices together; a segment that is unknown on one of them is unknown."""
        return Memory.total_of(it.memory for it in self.devices)

    @property
    def total(self) -> Figure:
        """The whole over all devices; unknown where that of one is, or there is no device."""
        return sum((it.total for it in self.devices), NOTHING) if self.devices else UNKNOWN


@dataclass(frozen=True, slots=True)
class HostState:
    """One side of a comparison. `name` is what the person typed; `free` is (device id, free bytes)."""

    name: str
    host: str
    servers: tuple[ComparedServer, ...]
    free: tuple[tuple[str, int | None], ...] = ()
    taken_at: float | None = None
    """Unix time in seconds; None for a plan."""


class Topic(StrEnum):
    """What a difference is about, in the order that is printed."""

    SERVER = "server"
    CONFIGURATION = "configuration"
    CAPACITY = "capacity"
    MEMORY = "memory"
    HEADROOM = "headroom"
    DEVICE = "device"
    FINDING = "finding"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same. A value is None where that side lacks it.

    `ratio` is after / before - 1 for numbers, None otherwise. `counts` is False for a number within the tolerance, and
    where one side is unknown: that proves no difference. `unit` is "bytes", "tokens", "bytes per token" or "".
    `cause` is a sentence, or "" where nobody can say.
    """

    topic: Topic
    subject: str
    what: str
    before: str | float | None
    after: str | float | None
    unit: str = ""
    ratio: float | None = None
    counts: bool = True
    cause: str = ""
    moves_by_itself: bool = False
    """It is no change of a server's: free memory of the host. Then `counts` is False."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences of two sides, by server in A's order, then the host's own."""

    before: HostState
    after: HostState
    tolerance_ratio: float
    differences: tuple[Difference, ...]

    @property
    def differs(self) -> bool:
        """Whether anything counts."""
        return any(it.counts for it in self.differences)
