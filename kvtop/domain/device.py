"""Devices: an accelerator, a MIG slice of one, or host memory; and what a driver says of processes on them."""

from dataclasses import dataclass
from enum import StrEnum

from kvtop.domain.driver import HOST_DRIVER, Driver


class DeviceState(StrEnum):
    """How far the driver's word can be trusted now."""

    OK = "ok"
    STALE = "stale"
    """The last call has not come back: figures are as of `measured_at`."""
    LOST = "lost"
    """The driver says the device fell off the bus or needs a reset."""
    ERROR = "error"
    """Any other failure; `note` has the driver's words."""


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes on one device as its driver reports them; None is unknown.

    Where the driver tells its own reserve, total = reserved + used + free, and `used_bytes` excludes the reserve.
    """

    total_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    reserved_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process on one device. `used_bytes` None: the driver lists the process but not its memory (WSL, WDDM)."""

    pid: int
    used_bytes: int | None
    contexts: tuple[str, ...] = ()
    """Of "compute", "graphics", "mps"."""
    compute_api: str = ""
    """The name of the API by which the process uses the device, where its driver distinguishes them."""
    mapped_host_bytes: int | None = None
    """Of the machine's memory, what the process maps for a card beside that (GTT): no part of its resident set."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device at one instant.

    `id` is stable while kvtop runs: "gpu0", "gpu0:mig1", "host".
    `processes` is None when the list itself could not be read; an empty tuple means nobody is there.
    `measured_at` is Unix time in seconds of the last reading that came back.
    """

    id: str
    name: str
    driver: Driver
    memory: DeviceMemory
    processes: tuple[ProcessMemory, ...] | None
    measured_at: float
    state: DeviceState = DeviceState.OK
    note: str = ""
    uuid: str | None = None
    parent_id: str | None = None
    """For a MIG slice, the card it is cut from."""
    compute_capability: tuple[int, int] | None = None
    unified_memory: bool = False
    """The device shares the host's memory (one chip with the processor): totals are the machine's."""
    utilization_ratio: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    clock_mhz: float | None = None
    """Of the streaming multiprocessors, now; `clock_limit_mhz` is the highest that the card may take."""
    clock_limit_mhz: float | None = None
    lists_all_processes: bool = True
    """False where `processes` are only those that kvtop may look at: others may be on the device too."""
    pci_address: str | None = None
    """Where the card sits ("0000:03:00.0", lower case): two drivers that report one address report one card."""

    @property
    def is_host(self) -> bool:
        """Whether this is this machine's own memory and no accelerator."""
        return self.driver.name == HOST_DRIVER.name
