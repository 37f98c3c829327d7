"""Host memory as a device, so that a machine without an accelerator shows everything it can.

Reads the kernel's own counters (/proc/meminfo on Linux) through psutil; no driver is involved, so it cannot hang.
"""

import time

import psutil

from kvtop.domain.device import Device, DeviceMemory, DeviceState
from kvtop.domain.driver import HOST_DRIVER
from kvtop.sources.devices.backend import BackendDescriptor

HOST_ID = "host"


def host_memory() -> DeviceMemory:
    """Total and what can still be had without swapping (`MemAvailable`); used is the difference. OSError if unread."""
    memory = psutil.virtual_memory()
    return DeviceMemory(
        total_bytes=memory.total,
        used_bytes=max(memory.total - memory.available, 0),
        free_bytes=memory.available,
    )


class HostBackend:
    """The memory of this machine. Nobody lists processes here: a server's share is its `Process.rss_bytes`."""

    def read(self) -> tuple[Device, ...]:
        """One device, "host"."""
        try:
            memory = host_memory()
        except (OSError, ValueError, KeyError) as error:  # /proc hidden by a sandbox, or cut short
            return (self._device(DeviceMemory(), DeviceState.ERROR, f"host memory cannot be read: {error}"),)
        return (self._device(memory, DeviceState.OK, ""),)

    def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def _device(memory: DeviceMemory, state: DeviceState, note: str) -> Device:
        return Device(
            id=HOST_ID,
            name="host memory",
            driver=HOST_DRIVER,
            memory=memory,
            processes=(),
            measured_at=time.time(),
            state=state,
            note=note,
        )


def open_backend() -> HostBackend:
    """There is always a host."""
    return HostBackend()


BACKEND = BackendDescriptor(HOST_DRIVER, open_backend, may_hang=False)
