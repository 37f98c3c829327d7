"""Devices as they are drawn: who is on each, and what all others hold there, where that can be known."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from kvtop.analysis.attribution.other_processes import other_processes
from kvtop.domain.device import Device
from kvtop.domain.frame import DeviceView, ServerView, Split
from kvtop.domain.process import Process


def device_views(
    devices: tuple[Device, ...],
    servers: tuple[ServerView, ...],
    taken_at: float,
    processes: Mapping[int, Process] = MappingProxyType({}),
) -> tuple[DeviceView, ...]:
    """One view a device, in the order of `devices`. `processes` names those that are no server's."""
    by_device: dict[str, list[tuple[str, Split]]] = {device.id: [] for device in devices}
    for server in servers:
        for split in server.splits:
            if split.device_id in by_device:
                by_device[split.device_id].append((server.reading.id, split))
    owned = frozenset(pid for server in servers for pid in server.reading.pids)
    slices: dict[str, list[Device]] = {}
    for device in devices:
        if device.parent_id is not None:
            slices.setdefault(device.parent_id, []).append(device)
    return tuple(
        DeviceView(
            device=device,
            splits=tuple(row for row in by_device[device.id] if row[1].driver.value_bytes is not None),
            other_bytes=_other_bytes(device, devices, slices.get(device.id, []), by_device),
            age_seconds=float(int(max(taken_at - device.measured_at, 0))),
            others=other_processes(device, owned, processes),
            elsewhere_bytes=_elsewhere(device, devices, by_device),
        )
        for device in devices
    )


def _other_bytes(
    device: Device,
    devices: tuple[Device, ...],
    slices: list[Device],
    by_device: dict[str, list[tuple[str, Split]]],
) -> int | None:
    """Used bytes that are no server's; None where a server's own share is unknown, for it would be counted in.

    A card that is cut lists nobody: what its slices use is theirs. A machine with one memory counts what its
    accelerator holds in its own total too. Resident file pages count as available for the system, so resident sets can
    exceed the host's used bytes: then nothing is left for others.
    """
    used_bytes = device.memory.used_bytes
    if used_bytes is None:
        return None
    if slices:
        used = [it.memory.used_bytes for it in slices]
        known = [size for size in used if size is not None]
        return max(used_bytes - sum(known), 0) if len(known) == len(used) else None
    held = _held(by_device[device.id])
    if not device.is_host:
        lists_all = device.processes is not None and all(row.used_bytes is not None for row in device.processes)
        return max(used_bytes - held, 0) if lists_all and held is not None else None
    for other in devices:
        if other.unified_memory:
            beside = _held(by_device[other.id])
            held = None if held is None or beside is None else held + beside
    return None if held is None else max(used_bytes - held, 0)


def _elsewhere(
    device: Device, devices: tuple[Device, ...], by_device: dict[str, list[tuple[str, Split]]]
) -> int | None:
    """What servers hold in host memory through accelerators that share it; None where that of one is unknown."""
    if not device.is_host:
        return 0
    held = _held(row for other in devices if other.unified_memory for row in by_device[other.id])
    used_bytes = device.memory.used_bytes
    return held if held is None or used_bytes is None else min(held, used_bytes)


def _held(rows: Iterable[tuple[str, Split]]) -> int | None:
    """What servers hold, None where that of one is unknown."""
    sizes = [split.driver.value_bytes for _, split in rows]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
