"""Devices in the order in which an engine counts them, as its plan wants them."""

from dataclasses import dataclass

from kvtop.domain.device import Device
from kvtop.domain.plan import PlanDevice
from kvtop.domain.server import ServerReading
from kvtop.planning.gpus.specs import find_product

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


VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"


def placed(reading: ServerReading, accelerators: tuple[Device, ...], visible: str | None = None) -> Placed:
    """Accelerators in the engine's order: by rank where its processes have one, else as `visible` names them.

    `visible` is its CUDA_VISIBLE_DEVICES; numbers are taken as the driver's own, and what it does not name comes last.
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

    named = _places(accelerators, visible)
    devices = tuple(sorted(accelerators, key=lambda device: (rank_of(device), named.get(device.id, _UNNAMED))))
    names = tuple(f"gpu{index}" for index in range(len(devices)))
    plan_devices = tuple(_plan_device(name, it, pids) for name, it in zip(names, devices, strict=True))
    engines = tuple(rank[0] if (rank := rank_of(it)) != _NO_RANK else 0 for it in devices)
    return Placed(devices, names, plan_devices, engines)


def _places(devices: tuple[Device, ...], visible: str | None) -> dict[str, int]:
    """The place of each device in a list of numbers and starts of UUIDs."""
    places: dict[str, int] = {}
    for place, entry in enumerate((visible or "").split(",")):
        word = entry.strip()
        for device in devices:
            is_meant = device.id == f"gpu{word}" or (
                word.startswith(("GPU-", "MIG-")) and (device.uuid or "").startswith(word)
            )
            if is_meant:
                places.setdefault(device.id, place)
    return places


def _plan_device(name: str, device: Device, pids: frozenset[int]) -> PlanDevice:
    """A device as the server saw it when it started: what is free now, and what it holds itself."""
    own = [row.used_bytes for row in device.processes or () if row.pid in pids]
    known = [size for size in own if size is not None]
    # A driver that lists the process without its bytes (WSL) leaves unknown what was free before it came.
    free_bytes = device.memory.free_bytes if len(known) == len(own) else None
    # A metrics server tells of a card by its name alone.
    product = find_product(device.name) if device.backend == "dcgm" else None
    return PlanDevice(
        name=name,
        total_bytes=device.memory.total_bytes,
        free_bytes=None if free_bytes is None else _rounded(free_bytes + sum(known)),
        compute_capability=device.compute_capability or (product.compute_capability if product is not None else None),
        backend={"nvml": "cuda", "dcgm": "cuda", "apple": "metal"}.get(device.backend, "unknown"),
        product=device.name,
    )


def _rounded(size_bytes: int) -> int:
    """To 64 MiB: other processes breathe, and the default split over devices must not flicker with them."""
    step = 64 * 1024 * 1024
    return size_bytes // step * step
