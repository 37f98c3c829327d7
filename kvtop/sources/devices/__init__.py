"""Devices of this machine. A backend is one file and one line in the table."""

from kvtop.sources.devices import host, nvml
from kvtop.sources.devices.device_thread import BackendEntry, DeviceReader

BACKENDS: tuple[BackendEntry, ...] = (
    BackendEntry("nvml", nvml.open_backend),
    BackendEntry("host", host.open_backend, may_hang=False),
)


def device_reader() -> DeviceReader:
    """A reader of every backend in the table."""
    return DeviceReader(BACKENDS)
