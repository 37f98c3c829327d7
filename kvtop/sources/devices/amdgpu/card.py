"""One AMD card: its memory and sensors from sysfs (Documentation/gpu/amdgpu, kernel 6.14)."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kvtop.domain.device import Device, DeviceMemory, DeviceState, ProcessMemory
from kvtop.sources.devices.amdgpu import AMDGPU
from kvtop.sources.devices.amdgpu.names import is_on_processor, name_of
from kvtop.sources.devices.drm.cards import DrmCard
from kvtop.text import without_controls

_CLOCK = re.compile(r"(\d{1,6})\s*mhz", re.IGNORECASE)


class AmdCard:
    """A card as it was met; `read` gives its figures now. `unique_id` in sysfs is what ROCm calls its UUID."""

    def __init__(self, card: DrmCard, root: Path, host_memory: Callable[[], DeviceMemory]) -> None:
        self.card = card
        self._host_memory = host_memory
        self.on_processor = is_on_processor(card)
        self._name = without_controls(name_of(card, root))
        unique_id = card.text("unique_id").lower()
        self._uuid = f"GPU-{unique_id}" if re.fullmatch(r"[0-9a-f]{16}", unique_id) else None
        clocks = [] if card.is_suspended else [int(found) for found in _CLOCK.findall(card.text("pp_dpm_sclk"))]
        self._clock_limit_mhz = float(max(clocks)) if clocks else None

    def read(self, device_id: str, processes: tuple[ProcessMemory, ...], *, sees_all: bool) -> Device:
        """The card now. `sees_all`: no process that could have it open is closed to this one."""
        memory = self._memory()
        is_gone = not self.card.home.is_dir()
        failed = memory.total_bytes is None
        note = "the card is gone" if is_gone else "the driver does not report its memory" if failed else ""
        device = Device(
            id=device_id,
            name=self._name,
            driver=AMDGPU,
            memory=memory,
            processes=processes,
            measured_at=time.time(),
            state=DeviceState.LOST if is_gone else DeviceState.ERROR if failed else DeviceState.OK,
            note=note,
            uuid=self._uuid,
            unified_memory=self.on_processor,
            clock_limit_mhz=self._clock_limit_mhz,
            pci_address=self.card.pci_address,
            lists_all_processes=sees_all,
        )
        return device if is_gone or self.card.is_suspended else self._with_sensors(device)

    def share_of(self, regions: Mapping[str, int]) -> int:
        """What a client's regions are of this device's memory: on a processor host memory that it maps is too."""
        return regions.get("vram", 0) + (regions.get("gtt", 0) if self.on_processor else 0)

    def mapped_beside(self, regions: Mapping[str, int]) -> int:
        """What a client maps of the machine's memory beside what counts on the device."""
        return 0 if self.on_processor else regions.get("gtt", 0)

    def _memory(self) -> DeviceMemory:
        """VRAM; on a processor what is set aside for it and what it may map (GTT) together.

        What it may map must still be there: pages of GTT are the machine's own memory.
        """
        vram = self._region("vram")
        if not self.on_processor:
            return vram
        mapped = self._region("gtt")
        if vram.total_bytes is None or mapped.total_bytes is None:
            return DeviceMemory()
        total = vram.total_bytes + mapped.total_bytes
        if vram.used_bytes is None or mapped.used_bytes is None or mapped.free_bytes is None:
            return DeviceMemory(total)
        available = self._host_memory().free_bytes
        mappable = mapped.free_bytes if available is None else min(mapped.free_bytes, available)
        free = vram.total_bytes - vram.used_bytes + mappable
        return DeviceMemory(total, vram.used_bytes + mapped.used_bytes, free)

    def _region(self, name: str) -> DeviceMemory:
        total, used = self.card.number(f"mem_info_{name}_total"), self.card.number(f"mem_info_{name}_used")
        if total is None or used is None or used > total:
            return DeviceMemory(total_bytes=total)
        return DeviceMemory(total, used, total - used)

    def _with_sensors(self, device: Device) -> Device:
        busy = self.card.number("gpu_busy_percent")
        celsius, watts = self.card.sensor("temp1_input"), self.card.sensor("power1_average", "power1_input")
        limit, hertz = self.card.sensor("power1_cap"), self.card.sensor("freq1_input")
        return replace(
            device,
            utilization_ratio=busy / 100 if busy is not None and busy <= 100 else None,
            temperature_celsius=_scaled(celsius, 1000, 200),
            power_watts=_scaled(watts, 1_000_000, 100_000),
            power_limit_watts=_scaled(limit, 1_000_000, 100_000) or None,
            clock_mhz=_scaled(hertz, 1_000_000, 10_000),
        )


def _scaled(figure: int | None, unit: int, below: int) -> float | None:
    """A sensor's figure in its unit; None for what no card survives."""
    return figure / unit if figure is not None and figure < below * unit else None
