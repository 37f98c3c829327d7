"""Of thousands of devices the few that a server elsewhere is on: a look at each server must not walk them all."""

from collections.abc import Iterable

from kvtop.domain.device import Device
from kvtop.domain.server import ServerReading


class NearDevices:
    """Devices by the processes that they list, sorted once for all servers of a tick."""

    def __init__(self, devices: Iterable[Device]) -> None:
        self._by_pid: dict[int, dict[str, Device]] = {}
        hosts: list[Device] = []
        for device in devices:
            if device.is_host:
                hosts.append(device)
            for row in device.processes or ():
                self._by_pid.setdefault(row.pid, {})[device.id] = device
        # Of several machines none is this server's more than another.
        self._host = tuple(hosts) if len(hosts) == 1 else ()

    def of(self, reading: ServerReading) -> tuple[Device, ...]:
        """The devices that list one of its processes, in the order of its processes, and the only host there is."""
        found: dict[str, Device] = {}
        for pid in reading.pids:
            found |= self._by_pid.get(pid, {})
        return (*(it for it in found.values() if it not in self._host), *self._host)
