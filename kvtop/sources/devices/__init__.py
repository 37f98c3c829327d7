"""Devices of this machine. A backend is one descriptor and one line in the table.

The order decides which driver's device is shown where two drivers report one card: the first.
"""

from kvtop.domain.driver import REMOTE_HOST_DRIVER, Driver
from kvtop.sources.devices import amdgpu, apple, dcgm, host, intel, nvml
from kvtop.sources.devices.backend import BackendDescriptor
from kvtop.sources.devices.device_reader import DeviceReader

BACKENDS: tuple[BackendDescriptor, ...] = (
    *(nvml.BACKEND, amdgpu.BACKEND, intel.XE_BACKEND, intel.I915_BACKEND),
    apple.BACKEND,
    host.BACKEND,
)
"""In the order of precedence."""

_ELSEWHERE = (dcgm.DCGM, REMOTE_HOST_DRIVER)
"""Drivers that this machine's reader does not ask: of other machines, of recordings and of the demo."""
_DRIVERS = {driver.name: driver for driver in (*(backend.driver for backend in BACKENDS), *_ELSEWHERE)}


def device_reader() -> DeviceReader:
    """A reader of every backend in the table."""
    return DeviceReader(BACKENDS)


def driver_named(name: str) -> Driver:
    """The driver of that name; one that no backend describes has a name and nothing more."""
    return _DRIVERS.get(name) or Driver(name)
