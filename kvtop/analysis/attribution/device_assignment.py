"""Which devices a server is on, by what their drivers list; and what to make of a driver that does not say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvtop.analysis.attribution.splits import driver_bytes
from kvtop.domain.device import Device, DeviceMemory
from kvtop.domain.driver import Driver
from kvtop.domain.figure import Basis, Figure
from kvtop.domain.model_file import Checkpoint, ModelFile
from kvtop.domain.process import GONE_OR_BEYOND, HIDDEN_FROM_US, Process
from kvtop.domain.server import ServerReading, ServerState

HOST = "host"
_RESIDENT_SHARE = 0.7
"""A process that holds this much of its model in host memory runs there, whatever a driver hides."""

_COUNTED_ALIKE = frozenset({GONE_OR_BEYOND, HIDDEN_FROM_US})
_UNSEEN = Driver("unseen")
_HIDDEN = Figure(None, Basis.UNKNOWN, source="the driver does not list this process: it may count it by another pid")


@dataclass(frozen=True, slots=True)
class DeviceAssignment:
    """`rows` are the devices a server is on with the measured total on each; `accelerators` are those to plan for.

    `is_placed` False: it is on some of `accelerators`, and nobody can tell which, so they have no rows. `is_shared`:
    the one row stands for host memory too, because the machine has one memory and nobody lists shares in it.
    `is_settled` False: it is too early to plan it. `note` says what was assumed, or "".
    """

    rows: tuple[tuple[Device, Figure], ...]
    accelerators: tuple[Device, ...]
    is_placed: bool = True
    is_shared: bool = False
    is_settled: bool = True
    note: str = ""


def device_assignment(
    reading: ServerReading,
    devices: tuple[Device, ...],
    processes: Mapping[int, Process],
    models: Mapping[str, ModelFile],
    unseen_makers: tuple[str, ...] = (),
) -> DeviceAssignment:
    """Where a server is. A device that lists its processes is certain; the rest is told as what it is: assumed.

    `unseen_makers` are those of cards that no driver shows: what is not resident in host memory may lie there.
    """
    pids = frozenset(reading.pids)
    totals = ((device, driver_bytes(device, pids, processes)) for device in devices)
    rows = tuple((device, driver) for device, driver in totals if driver is not None)
    listed = tuple(device for device, _ in rows if not device.is_host)
    if listed or not pids or reading.is_remote or not _may_use_accelerators(reading):
        return DeviceAssignment(rows, listed)
    on_host = next((figure for device, figure in rows if device.is_host), None)
    shared = next((it for it in devices if it.unified_memory and it.processes is None), None)
    if shared is not None and on_host is not None:
        source = f"{on_host.source}; unified memory, and no driver lists shares of {shared.id}"
        return DeviceAssignment(((shared, replace(on_host, source=source)),), (shared,), is_shared=True)
    if reading.state is ServerState.LOADING and any(not device.is_host for device in devices):
        return DeviceAssignment(rows, (), is_settled=False, note="still loading: where it will lie is not known yet")
    hiding = tuple(it for it in devices if not it.is_host and _may_hide(it, processes, pids))
    resident_share = _resident_share(reading, on_host, models)
    if resident_share is not None and resident_share >= _RESIDENT_SHARE:
        return DeviceAssignment(rows, ())
    if not hiding and unseen_makers and resident_share is not None and reading.state is ServerState.READY:
        return _on_an_unseen_card(rows, unseen_makers)
    if not hiding:
        return DeviceAssignment(rows, ())
    if len(hiding) == 1:
        note = f"no driver lists its process; taken to be on {hiding[0].id}, {_why(hiding[0])}"
        return DeviceAssignment(((hiding[0], _HIDDEN), *rows), hiding, note=note)
    ids = ", ".join(device.id for device in hiding)
    note = f"no driver lists its process; planned for {ids}, whose lists name no process here or cannot be read"
    return DeviceAssignment(rows, hiding, is_placed=False, note=note)


def _why(device: Device) -> str:
    if device.processes is None:
        return "whose list cannot be read"
    if not device.lists_all_processes:
        return "whose driver shows this user's own processes only"
    return "which lists pids that no process here has"


def _on_an_unseen_card(rows: tuple[tuple[Device, Figure], ...], makers: tuple[str, ...]) -> DeviceAssignment:
    """A plan for one card that nobody measures: host memory does not hold the model."""
    name = " or ".join(makers)
    card = Device(f"a card of {name}", name, _UNSEEN, DeviceMemory(), None, 0.0)
    note = f"most of the model is not resident in host memory: taken to be on a card of {name}, which kvtop cannot see"
    return DeviceAssignment(rows, (card,), is_placed=False, note=note)


def _may_use_accelerators(reading: ServerReading) -> bool:
    """Whether these options leave a server free to use a card, if it has one."""
    launch = reading.launch
    if launch is None or reading.is_proxy:
        return False
    return launch.value("gpu-layers") != "0" and launch.value("device") not in {"none", "cpu"}


def _may_hide(device: Device, processes: Mapping[int, Process], pids: frozenset[int]) -> bool:
    """Whether a device's list cannot be read, or has pids that may be a server's by another number (a container, WSL).

    Where the driver counts processes as kvtop does, a server would stand in the list by its own pid: a stranger there
    is somebody else. Only in WSL does the driver list pids of its own, and then without their bytes.
    """
    if device.processes is None:
        return True
    if not device.lists_all_processes and any(processes[pid].environ is None for pid in pids if pid in processes):
        return True  # closed to kvtop, as its environment is
    for row in device.processes:
        it = processes.get(row.pid)
        is_stranger = it is not None and it.argv is None and it.name == "?"
        if (
            it is not None
            and is_stranger
            and (row.used_bytes is None or not _COUNTED_ALIKE.intersection(it.unreadable))
        ):
            return True
    return False


def _resident_share(reading: ServerReading, on_host: Figure | None, models: Mapping[str, ModelFile]) -> float | None:
    """How much of its model a process can hold in host memory at most; None where its size is not known."""
    model = models.get(reading.model_key) if reading.model_key is not None else None
    if model is None or on_host is None or on_host.value_bytes is None:
        return None
    size_bytes = model.tensor_bytes if isinstance(model, Checkpoint) else model.file_size_bytes
    return on_host.value_bytes / size_bytes if size_bytes else None
