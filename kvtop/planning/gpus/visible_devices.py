"""Measured devices as an engine counts them: which of them its environment lets it see, in which order, as a plan asks.

One translation for a command that has not been started and for a server that runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kvtop.domain.compute_api import ComputeApi, api_named
from kvtop.domain.device import Device, DeviceMemory
from kvtop.domain.plan import PlanDevice
from kvtop.planning.gpus.specs import find_product
from kvtop.text import plain_number


def usable_devices(devices: Sequence[Device], api: ComputeApi) -> tuple[Device, ...]:
    """Accelerators that programs of this API count, in the driver's order. A card that is cut into slices is none."""
    cut = {device.parent_id for device in devices if device.parent_id is not None}
    return tuple(
        device
        for device in devices
        if not device.is_host
        and device.id not in cut
        and (api in device.driver.compute_apis or not device.driver.compute_apis)
    )


def visible_devices(devices: Sequence[Device], api: ComputeApi, environ: Mapping[str, str]) -> tuple[Device, ...]:
    """What of them a program sees, in its own order, under the variables of its API; all where none is set."""
    seen = usable_devices(devices, api)
    for step in api.variables:
        setting = next((environ[name] for name in step if name in environ), None)
        if setting is not None:
            seen = _chosen(seen, setting, api.uuid_prefixes)
    return seen


def plan_device(name: str, device: Device, api: ComputeApi, free_bytes: int | None) -> PlanDevice:
    """A measured device as a device to plan for. What its source does not say follows from the product."""
    product = None if device.compute_capability is not None else find_product(device.name)
    is_same = product is not None and product.compute_api == api.name
    return PlanDevice(
        name=name,
        total_bytes=usable_bytes(device.memory),
        free_bytes=free_bytes,
        compute_capability=product.compute_capability if product is not None and is_same else device.compute_capability,
        compute_api=api.name,
        product=device.name,
    )


def usable_bytes(memory: DeviceMemory) -> int | None:
    """All of a device that its compute API reports: a reserve that the driver tells of is no part of it."""
    return None if memory.total_bytes is None else memory.total_bytes - (memory.reserved_bytes or 0)


def chosen_specs(devices: tuple[PlanDevice, ...], environ: Mapping[str, str]) -> tuple[PlanDevice, ...]:
    """The devices of `--gpu` that a typed visibility variable picks, as the engine numbers them.

    Nothing or -1 hides them all. Where its numbers do not pick among them, `--gpu` already says what the server sees.
    """
    for step in api_named(devices[0].compute_api).variables if devices else ():
        setting = next((environ[name] for name in step if name in environ), None)
        if setting is not None:
            devices = _picked(devices, setting)
    return devices


def _picked(devices: tuple[PlanDevice, ...], setting: str) -> tuple[PlanDevice, ...]:
    if setting.strip() in {"", "-1"}:
        return ()
    entries = [entry.strip() for entry in setting.split(",")]
    numbers = [number for entry in entries if (number := plain_number(entry)) is not None]
    is_choice = len(numbers) == len(entries) < len(devices) and max(numbers) < len(devices)
    if not is_choice:
        return devices
    return tuple(replace(devices[number], name=f"gpu{index}") for index, number in enumerate(numbers))


def _chosen(devices: Sequence[Device], setting: str, uuid_prefixes: tuple[str, ...]) -> tuple[Device, ...]:
    """By numbers and starts of UUIDs. Runtimes stop at the first entry that names no device."""
    chosen: list[Device] = []
    for entry in setting.split(","):
        found = _named(devices, entry.strip(), uuid_prefixes)
        if found is None:
            break
        chosen.append(found)
    return tuple(chosen)


def _named(devices: Sequence[Device], entry: str, uuid_prefixes: tuple[str, ...]) -> Device | None:
    if entry.isdecimal():
        number = plain_number(entry, len(devices) - 1)
        return None if number is None else devices[number]
    if not uuid_prefixes or not entry.startswith(uuid_prefixes):
        return None
    return next((device for device in devices if device.uuid is not None and device.uuid.startswith(entry)), None)
