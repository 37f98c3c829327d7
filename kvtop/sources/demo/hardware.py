"""Cards and host memory as their drivers describe them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.domain.driver import HOST_DRIVER
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.devices.nvml import NVML

GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class DemoCard:
    """What NVML says of a card that nobody uses."""

    name: str
    total_mib: int
    reserved_mib: int
    compute_capability: tuple[int, int]
    power_limit_watts: float
    clock_limit_mhz: float


RTX_4090 = DemoCard("NVIDIA GeForce RTX 4090", 24564, 434, (8, 9), 450.0, 3105.0)
H100 = DemoCard("NVIDIA H100 80GB HBM3", 81559, 551, (9, 0), 700.0, 1980.0)
L40S = DemoCard("NVIDIA L40S", 46068, 596, (8, 9), 350.0, 2520.0)


def card(
    second: float,
    product: DemoCard,
    processes_mib: Mapping[int, int],
    *,
    index: int = 0,
    desktop_mib: int = 0,
    busy_ratio: float = 0.9,
) -> Device:
    """One card. `processes_mib`: memory by pid of compute processes; `desktop_mib` a display server (pid 980)."""
    rows = [ProcessMemory(pid, size * MIB, ("compute",)) for pid, size in processes_mib.items()]
    if desktop_mib:
        rows.append(ProcessMemory(980, desktop_mib * MIB, ("graphics",)))
    used_mib = sum(processes_mib.values()) + desktop_mib
    free_mib = product.total_mib - used_mib - product.reserved_mib
    memory = DeviceMemory(*(size * MIB for size in (product.total_mib, used_mib, free_mib, product.reserved_mib)))
    return Device(
        id=f"gpu{index}",
        name=product.name,
        driver=NVML,
        memory=memory,
        processes=tuple(rows),
        measured_at=EPOCH + second,
        uuid=f"GPU-5a3c1f00-0000-4000-8000-{index:012x}",
        compute_capability=product.compute_capability,
        utilization_ratio=busy_ratio,
        temperature_celsius=float(round(38 + 35 * busy_ratio)),
        power_watts=float(round(product.power_limit_watts * (0.15 + 0.75 * busy_ratio))),
        power_limit_watts=product.power_limit_watts,
        clock_mhz=product.clock_limit_mhz - 15.0 * round(10 * busy_ratio),
        clock_limit_mhz=product.clock_limit_mhz,
    )


def hiding_bytes(device: Device) -> Device:
    """The same card under a driver that lists processes without their memory (WSL, Windows)."""
    rows = tuple(replace(row, used_bytes=None) for row in device.processes or ())
    return replace(device, processes=rows)


def host_memory(second: float, total_gib: float, used_gib: float) -> Device:
    """The memory of the machine."""
    total, used = round(total_gib * GIB), round(used_gib * GIB)
    return Device(
        "host", "host memory", HOST_DRIVER, DeviceMemory(total, used, total - used), (), measured_at=EPOCH + second
    )
