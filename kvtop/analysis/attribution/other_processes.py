"""Who else is on a device: the processes that the driver lists and no server owns."""

from collections.abc import Collection, Mapping

from kvtop.domain.device import Device
from kvtop.domain.frame import OtherProcess
from kvtop.domain.process import Process


def other_processes(
    device: Device, owned: Collection[int], processes: Mapping[int, Process]
) -> tuple[OtherProcess, ...]:
    """The largest first; those of unknown size last. Empty too where the driver gives no list.

    `owned` are the pids of servers.
    """
    others = [
        OtherProcess(row.pid, processes[row.pid].name if row.pid in processes else None, row.used_bytes, row.contexts)
        for row in device.processes or ()
        if row.pid not in owned
    ]
    return tuple(sorted(others, key=lambda other: (-(other.used_bytes or 0), other.pid)))
