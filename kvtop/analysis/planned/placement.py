"""Devices in the order in which an engine counts them, as its plan wants them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from kvtop.domain.compute_api import ComputeApi, api_named
from kvtop.domain.device import Device
from kvtop.domain.plan import PlanDevice
from kvtop.domain.server import ServerReading
from kvtop.planning.gpus.visible_devices import plan_device, visible_devices
from kvtop.planning.llamacpp.memory.placement import api_of_device_names

HOST = "host"
_UNNAMED = 1 << 30
_NO_RANK = (1 << 30, 0, 0)
"""A device where only a process without a rank has a context comes after those of the ranks."""


@dataclass(frozen=True, slots=True)
class Placed:
    """The devices a server is on, in the order of its plan: `names[i]` is what the plan calls `devices[i]`."""

    devices: tuple[Device, ...]
    names: tuple[str, ...]
    plan_devices: tuple[PlanDevice, ...]
    engines: tuple[int, ...]
    """Which engine of a data-parallel server each device belongs to; 0 where there is only one."""

    def name_of(self, device_id: str) -> str:
        """The plan's name of a device; what is no accelerator of this server is its host part."""
        for device, name in zip(self.devices, self.names, strict=True):
            if device.id == device_id:
                return name
        return HOST

    def engine_of(self, device_id: str) -> int | None:
        """The engine with a rank on a device; None for what is no accelerator of this server."""
        for device, engine in zip(self.devices, self.engines, strict=True):
            if device.id == device_id:
                return engine
        return None


def placed(
    reading: ServerReading,
    accelerators: tuple[Device, ...],
    devices: Sequence[Device] = (),
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Placed:
    """Accelerators in the engine's order: by rank where its processes have one, else as its environment orders them.

    `devices` are all of the host, which numbers in `environ` count; what is not named there comes last.
    """
    pids = frozenset(reading.pids)
    order = {
        rank.pid: (rank.data_parallel_index or 0, rank.pipeline_parallel_index or 0, rank.tensor_parallel_index or 0)
        for rank in reading.ranks
        if rank.role != "api server"
    }

    def rank_of(device: Device) -> tuple[int, int, int]:
        held = [order[row.pid] for row in device.processes or () if row.pid in order]
        return min(held, default=_NO_RANK if order else (0, 0, 0))

    apis = {device.id: compute_api_of(reading, device) for device in accelerators}
    named = {
        seen.id: index
        for api in dict.fromkeys(apis.values())
        for index, seen in enumerate(visible_devices(devices or accelerators, api, environ))
    }
    devices = tuple(sorted(accelerators, key=lambda device: (rank_of(device), named.get(device.id, _UNNAMED))))
    names = tuple(f"gpu{index}" for index in range(len(devices)))
    plan_devices = tuple(_plan_device(name, it, apis[it.id], pids) for name, it in zip(names, devices, strict=True))
    engines = tuple(rank[0] if (rank := rank_of(it)) != _NO_RANK else 0 for it in devices)
    return Placed(devices, names, plan_devices, engines)


def compute_api_of(reading: ServerReading, device: Device) -> ComputeApi:
    """What a server uses on a device: as its driver lists it, else as the engine logged it, else as it was told.

    Where none of them says it, the device's usual API.
    """
    pids = frozenset(reading.pids)
    listed = {row.compute_api for row in device.processes or () if row.pid in pids and row.compute_api}
    told = api_of_device_names(reading.launch.value("device")) if reading.launch is not None else None
    logged = {report.compute_api for report in reading.memory_reports if report.compute_api}
    for said in (listed, logged):
        if len(said) == 1:
            return api_named(said.pop())
    return device.driver.compute_api if told is None else api_named(told)


def _plan_device(name: str, device: Device, api: ComputeApi, pids: frozenset[int]) -> PlanDevice:
    """A device as the server saw it when it started: what is free now, and what it holds itself."""
    own = [row.used_bytes for row in device.processes or () if row.pid in pids]
    known = [size for size in own if size is not None]
    # A driver that lists the process without its bytes (WSL) leaves unknown what was free before it came.
    free_bytes = device.memory.free_bytes if len(known) == len(own) else None
    return plan_device(name, device, api, None if free_bytes is None else _rounded(free_bytes + sum(known)))


def _rounded(size_bytes: int) -> int:
    """To 64 MiB: other processes breathe, and the default split over devices must not flicker with them."""
    step = 64 * 1024 * 1024
    return size_bytes // step * step
