"""AMD cards as the kernel describes them, discrete and on a processor's die."""

from kvtop.domain.compute_api import ROCM, VULKAN
from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.sources.demo.hardware import MIB
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.devices.amdgpu import AMDGPU

DESKTOP_PID = 980


def rocm(pid: int, used_mib: int, mapped_mib: int = 0) -> ProcessMemory:
    """A process that computes through ROCm; `mapped_mib` of the machine's memory lie beside it, mapped for the card."""
    return ProcessMemory(pid, used_mib * MIB, ("compute",), ROCM.name, mapped_mib * MIB)


def vulkan(pid: int, used_mib: int, mapped_mib: int = 0) -> ProcessMemory:
    """A process that KFD does not know: it came through Vulkan or draws."""
    return ProcessMemory(pid, used_mib * MIB, ("graphics",), VULKAN.name, mapped_mib * MIB)


def rx_7900_xtx(second: float, *processes: ProcessMemory, busy_ratio: float = 0.9) -> Device:
    """A discrete card of 24 GB under a desktop. What is used beyond the processes is the driver's own."""
    total_mib, own_mib = 24560, 26
    used_mib = sum((row.used_bytes or 0) // MIB for row in processes) + own_mib
    return Device(
        id="gpu0",
        name="AMD Radeon RX 7900 XTX",
        driver=AMDGPU,
        memory=DeviceMemory(total_mib * MIB, used_mib * MIB, (total_mib - used_mib) * MIB),
        processes=processes,
        measured_at=EPOCH + second,
        uuid="GPU-9e7f1c0a4b3d2e11",
        utilization_ratio=busy_ratio,
        temperature_celsius=66.0,
        power_watts=round(80 + 250 * busy_ratio, 1),
        power_limit_watts=339.0,
        clock_mhz=2395.0,
        clock_limit_mhz=2526.0,
        pci_address="0000:03:00.0",
    )


def strix_halo(second: float, available_mib: int, *processes: ProcessMemory) -> Device:
    """Graphics on the processor's die: 512 MiB set aside, 120 GiB of the machine's memory that it may map."""
    set_aside_mib, mappable_mib, scanout_mib = 512, 120 * 1024, 14
    used_mib = sum((row.used_bytes or 0) // MIB for row in processes) + scanout_mib
    total_mib = set_aside_mib + mappable_mib
    free_mib = min(total_mib - used_mib, available_mib)
    return Device(
        id="gpu0",
        name="AMD Radeon 8060S Graphics",
        driver=AMDGPU,
        memory=DeviceMemory(total_mib * MIB, used_mib * MIB, free_mib * MIB),
        processes=processes,
        measured_at=EPOCH + second,
        unified_memory=True,
        utilization_ratio=0.94,
        temperature_celsius=71.0,
        power_watts=98.0,
        clock_mhz=2880.0,
        clock_limit_mhz=2900.0,
        pci_address="0000:c5:00.0",
    )
