"""What a backend is: one descriptor a driver, and what is asked of the driver once it is open."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kvtop.domain.device import Device
from kvtop.domain.driver import Driver
from kvtop.domain.sample import Failure


class OpenBackend(Protocol):
    """One open driver. All calls come from one thread."""

    def read(self) -> tuple[Device, ...]:
        """Every device now; a failing device is a Device with a state. Raises DriverGoneError for the whole driver.

        Ids are the driver's own count ("gpu0", "gpu0:mig1"): the reader numbers the devices of all drivers together.
        """

    def close(self) -> None:
        """Let go of the driver. Never called while `read` runs."""


class DriverGoneError(Exception):
    """The driver as a whole must be opened again. `reopen_now`: it works, but its world changed (a card came)."""

    def __init__(self, failure: Failure, *, reopen_now: bool = False) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.reopen_now = reopen_now


Opener = Callable[[], OpenBackend | Failure | None]
"""None: this kind of device cannot exist on this platform. Failure: it may exist but does not answer."""


@dataclass(frozen=True, slots=True)
class BackendDescriptor:
    """One line of the table of backends: a driver, how it is opened, and how its cards are recognised without it.

    `may_hang`: it calls a driver, so a thread of its own reads it. `pci_vendors` are the vendor numbers of its cards as
    sysfs writes them ("0x10de"); `device_files` are files under / that show that there is a card where no bus does.
    """

    driver: Driver
    open: Opener
    may_hang: bool = True
    pci_vendors: tuple[str, ...] = ()
    device_files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The driver's name."""
        return self.driver.name
