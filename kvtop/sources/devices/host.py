"""Host memory as a device, so that a machine without an accelerator shows everything it can.

Reads the kernel's own counters: /proc/meminfo on Linux, through psutil elsewhere. No driver is involved, so it cannot
hang.
"""

import time
from pathlib import Path

from kvtop.domain.device import Device, DeviceMemory, DeviceState
from kvtop.domain.driver import HOST_DRIVER
from kvtop.sources.devices.backend import BackendDescriptor

HOST_ID = "host"
_MEMINFO = Path("/proc/meminfo")
_COUNTERS = ("MemTotal", "MemAvailable")


def host_memory() -> DeviceMemory:
    """Total and what can still be had without swapping (`MemAvailable`); used is the difference. OSError if unread."""
    total_bytes, free_bytes = _meminfo() or _elsewhere()
    return DeviceMemory(
        total_bytes=total_bytes,
        used_bytes=max(total_bytes - free_bytes, 0),
        free_bytes=free_bytes,
    )


def _meminfo() -> tuple[int, int] | None:
    """(total, available) of /proc/meminfo in bytes; None where there is none, or none that says both.

    Not psutil: its import takes an eighth of the time of a snapshot.
    """
    try:
        lines = _MEMINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    sizes = [int(words[0]) << 10 for words in map(found.get, _COUNTERS) if words and words[0].isdecimal()]
    return (sizes[0], min(sizes[1], sizes[0])) if len(sizes) == len(_COUNTERS) else None


def _elsewhere() -> tuple[int, int]:
    import psutil  # noqa: PLC0415  see `_meminfo`

    memory = psutil.virtual_memory()
    return memory.total, memory.available


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
