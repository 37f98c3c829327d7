"""One NVIDIA device (a card or a MIG slice): what to ask it and what to make of the answers.

A refresh asks memory, three process lists and utilisation, and one of the slow facts in turn: at most
`CALLS_PER_REFRESH` driver calls. Names, UUIDs, the PCI address and the compute capability are asked once.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from kvtop.domain.device import Device, DeviceMemory, DeviceState, ProcessMemory
from kvtop.sources.devices.nvml import NVML
from kvtop.sources.devices.nvml.errors import (
    ABSENT_CODES,
    DRIVER_GONE_CODES,
    LOST_CODES,
    NO_PERMISSION,
    NOT_SUPPORTED,
    DriverError,
)
from kvtop.sources.devices.nvml.lists import KINDS, NOT_AVAILABLE, Entry, ProcessLists, merge
from kvtop.sources.devices.nvml.slow import SlowFacts, SlowQuery

CALLS_PER_REFRESH = 6
_MEMORY_V2 = 0x02000028  # sizeof(nvmlMemory_v2_t) | 2 << 24, nvml.h
_ARGUMENT_VERSION_MISMATCH = 25
_UTILIZATION = "nvmlDeviceGetUtilizationRates"


class NvmlLibrary(Protocol):
    """The calls that a card needs."""

    def ask(self, function: str, *arguments: object) -> Any:  # noqa: ANN401  the binding's structs carry no types
        """The value of one call of the binding, or a DriverError."""

    def text(self, function: str, handle: object) -> str | DriverError:
        """A text that is safe to show, or a DriverError."""

    def process_lists(self) -> ProcessLists:
        """Process lists for one more device."""


class DriverLostError(Exception):
    """A device call said that the driver itself is gone."""

    def __init__(self, error: DriverError) -> None:
        super().__init__(error.words)
        self.error = error


class Card:
    """A device behind a handle that works. Keeps the last figures for the time when the device does not answer.

    `host_memory` tells the machine's memory, for parts that share it. `parent_id` is set for a MIG slice.
    """

    def __init__(
        self,
        driver: NvmlLibrary,
        device_id: str,
        handle: object,
        host_memory: Callable[[], DeviceMemory],
        *,
        questions: tuple[SlowQuery, ...] = (),
        parent_id: str | None = None,
    ) -> None:
        self.handle = handle
        self.slow = SlowFacts(driver, handle, questions)
        self.slow.ask_all()
        self.calls_left = 0
        self._driver = driver
        self._host_memory = host_memory
        self._lists = driver.process_lists()
        self._absent: set[str] = set()
        self._memory_version = _MEMORY_V2
        self._both_versions_refused = False
        self._notes: list[str] = []
        name = driver.text("nvmlDeviceGetName", handle)
        capability = driver.ask("nvmlDeviceGetCudaComputeCapability", handle)
        self._device = Device(
            id=device_id,
            name=name if isinstance(name, str) and name else "unknown name",
            driver=NVML,
            memory=DeviceMemory(),
            processes=None,
            measured_at=time.time(),
            uuid=self.current_uuid(),
            parent_id=parent_id,
            compute_capability=None if isinstance(capability, DriverError) else (capability[0], capability[1]),
            pci_address=None if parent_id is not None else _address(driver.ask("nvmlDeviceGetPciInfo", handle)),
        )

    @property
    def device_id(self) -> str:
        """ "gpu0", "gpu0:mig1"."""
        return self._device.id

    @property
    def uuid(self) -> str | None:
        """The UUID as of the time when the device was met."""
        return self._device.uuid

    def current_uuid(self) -> str | None:
        """The UUID that the handle stands for now (one driver call)."""
        uuid = self._driver.text("nvmlDeviceGetUUID", self.handle)
        return None if isinstance(uuid, DriverError) else uuid

    def read(self) -> Device:
        """The device now; `calls_left` then says what remains of its calls. Raises DriverLostError."""
        self.calls_left = CALLS_PER_REFRESH
        self._notes = []
        is_cut = self.slow.is_mig_on
        memory = self._memory()
        if isinstance(memory, DriverError):
            return self._failed(memory)
        unified = self._is_unified(memory)
        listed = () if is_cut else self._processes(None if unified or memory is None else memory.total_bytes)
        if isinstance(listed, DriverError):
            return self._failed(listed)
        figures = DeviceMemory()
        if unified:
            figures = self._unified(listed)
        elif memory is not None:
            figures = self._believable(memory)
        utilization = None if is_cut else self._utilization()
        if self.calls_left > 0:
            self.calls_left -= self.slow.ask_next()
        self._device = replace(
            self._device,
            memory=figures,
            processes=listed,
            measured_at=time.time(),
            state=DeviceState.OK,
            note="; ".join(self._notes),
            unified_memory=unified,
            utilization_ratio=utilization,
            temperature_celsius=self.slow.temperature_celsius,
            power_watts=self.slow.power_watts,
            power_limit_watts=self.slow.power_limit_watts,
            clock_mhz=self.slow.clock_mhz,
            clock_limit_mhz=self.slow.clock_limit_mhz,
        )
        return self._device

    def _failed(self, error: DriverError) -> Device:
        """The last figures under the driver's words; `measured_at` stays theirs."""
        if error.code in DRIVER_GONE_CODES:
            raise DriverLostError(error)
        state = DeviceState.LOST if error.code in LOST_CODES else DeviceState.ERROR
        return replace(self._device, state=state, note=error.words)

    def _memory(self) -> DeviceMemory | DriverError | None:
        """Figures; None where the driver does not tell them; an error only where the device itself fails.

        Version 1 is for drivers before R515. It says no more on a card that refused both, so it is asked once.
        """
        answer = self._ask_memory()
        older_may_help = isinstance(answer, DriverError) and answer.code in {*ABSENT_CODES, _ARGUMENT_VERSION_MISMATCH}
        if older_may_help and self._memory_version and not self._both_versions_refused:
            self._memory_version = 0
            answer = self._ask_memory()
            if isinstance(answer, DriverError):
                self._memory_version = _MEMORY_V2
                self._both_versions_refused = True
        if isinstance(answer, DriverError):
            if answer.code not in ABSENT_CODES | {NO_PERMISSION}:
                return answer
            if answer.code != NOT_SUPPORTED:
                self._notes.append(f"memory: {answer.words}")
            return None
        return DeviceMemory(
            total_bytes=_known(answer.total),
            used_bytes=_known(answer.used),
            free_bytes=_known(answer.free),
            reserved_bytes=_known(answer.reserved) if self._memory_version else None,
        )

    def _ask_memory(self) -> Any:  # noqa: ANN401  a struct of the binding, or a DriverError
        self.calls_left -= 1
        version = (self._memory_version,) if self._memory_version else ()
        return self._driver.ask("nvmlDeviceGetMemoryInfo", self.handle, *version)

    def _believable(self, memory: DeviceMemory) -> DeviceMemory:
        if memory.used_bytes is None or memory.total_bytes is None or memory.used_bytes <= memory.total_bytes:
            return memory
        self._notes.append("the driver reports more used than there is")
        return replace(memory, used_bytes=None, free_bytes=None)

    def _is_unified(self, memory: DeviceMemory | None) -> bool:
        """No answer, a total of 0, or the machine's total to the byte: the memory is the host's (GB10, Thor)."""
        if self._device.parent_id is not None:
            return False
        if memory is None:
            return not self._notes  # a note says that it was refused for another reason than "not supported"
        return memory.total_bytes is not None and memory.total_bytes in (0, self._host_memory().total_bytes)

    def _unified(self, processes: tuple[ProcessMemory, ...] | None) -> DeviceMemory:
        """The machine's total and what it has left; used is what the driver lists for processes, if it tells all."""
        host = self._host_memory()
        used = 0
        for process in processes or ():
            if process.used_bytes is None:
                return DeviceMemory(total_bytes=host.total_bytes, free_bytes=host.free_bytes)
            used += process.used_bytes
        return DeviceMemory(
            total_bytes=host.total_bytes,
            used_bytes=None if processes is None else used,
            free_bytes=host.free_bytes,
        )

    def _processes(self, limit_bytes: int | None) -> tuple[ProcessMemory, ...] | DriverError | None:
        """All lists merged; None when the compute list cannot be read; an error where the device itself fails."""
        lists: list[tuple[str, tuple[Entry, ...]]] = []
        compute_is_known = True
        kinds = [kind for kind in KINDS if kind not in self._absent]
        for index, kind in enumerate(kinds):
            lists_to_come = len(kinds) - index - 1
            listed, calls = self._lists.read(kind, self.handle, at_most=self.calls_left - lists_to_come)
            self.calls_left -= calls
            if not isinstance(listed, DriverError):
                lists.append((kind, tuple(listed)))
            elif listed.code in LOST_CODES | DRIVER_GONE_CODES:
                return listed
            elif listed.code in ABSENT_CODES and kind != "compute":
                self._absent.add(kind)
            else:
                compute_is_known = compute_is_known and kind != "compute"
                self._notes.append(f"{kind} processes: {listed.words}")
        return merge(lists, limit_bytes) if compute_is_known else None

    def _utilization(self) -> float | None:
        if _UTILIZATION in self._absent or self._device.parent_id is not None:
            return None  # NVML has no utilisation of slices
        if self.calls_left < 1:
            return self._device.utilization_ratio
        self.calls_left -= 1
        answer = self._driver.ask(_UTILIZATION, self.handle)
        if isinstance(answer, DriverError):
            if answer.code in ABSENT_CODES:
                self._absent.add(_UTILIZATION)
            return None
        per_cent: int = answer.gpu
        return per_cent / 100 if 0 <= per_cent <= 100 else None


def _known(figure: int) -> int | None:
    return None if figure == NOT_AVAILABLE else int(figure)


def _address(info: Any) -> str | None:  # noqa: ANN401  a struct of the binding, or a DriverError
    """As sysfs writes it. GPUs are function 0 of their slot; all zeros is no answer."""
    if isinstance(info, DriverError) or not (info.domain or info.bus or info.device):
        return None
    return f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.0"
