"""Process lists of NVML through its C interface, one call a list.

The binding asks for the size first and then for the list: two calls, and an exception where the driver lacks the
newest name. Here one call fills a buffer that is large enough nearly always; a list that outgrew it is asked for once
more. Layouts: nvml.h, nvmlProcessInfo_v1_t (16 bytes), _v2_t (24 bytes, `_v2` and `_v3` names alike). Drivers from
535.43 to before 535.86 filled a 32-byte struct under the `_v3` name; they are told apart as nvitop tells them apart:
nvmlDeviceGetConfComputeMemSizeInfo is there and nvmlDeviceGetRunningProcessDetailList is not.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kvtop.domain.device import ProcessMemory
from kvtop.sources.devices.nvml.errors import (
    FUNCTION_NOT_FOUND,
    INSUFFICIENT_SIZE,
    SUCCESS,
    DriverError,
)

NOT_AVAILABLE = 0xFFFFFFFFFFFFFFFF
KINDS = ("compute", "graphics", "mps")
_FUNCTIONS = {
    "compute": "nvmlDeviceGetComputeRunningProcesses",
    "graphics": "nvmlDeviceGetGraphicsRunningProcesses",
    "mps": "nvmlDeviceGetMPSComputeRunningProcesses",
}
_FIRST_CAPACITY = 128
_MAX_CAPACITY = 1 << 16  # a driver that asks for more than this many lines is not believed
_NO_INSTANCE = 0xFFFFFFFF


class _ProcessV1(ctypes.Structure):
    _fields_ = (("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong))


class _ProcessV2(ctypes.Structure):
    _fields_ = (*_ProcessV1._fields_, ("gpu_instance", ctypes.c_uint), ("compute_instance", ctypes.c_uint))


class _ProcessV3Early(ctypes.Structure):
    _fields_ = (*_ProcessV2._fields_, ("protected", ctypes.c_ulonglong))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of one list. `instance` is (GPU instance, compute instance), None where the driver knows none."""

    pid: int
    used_bytes: int | None
    instance: tuple[int, int] | None


class ProcessLists:
    """The lists of one device. Buffers are kept, so that a long list costs its second call once."""

    def __init__(self, library: ctypes.CDLL | None) -> None:
        self._library = library
        self._capacity = dict.fromkeys(KINDS, _FIRST_CAPACITY)

    def read(self, kind: str, handle: object, at_most: int = 2) -> tuple[Sequence[Entry] | DriverError, int]:
        """The list of that kind, or the driver's error; and how many driver calls it took (0 to 2)."""
        found = self._function(kind)
        if found is None:
            return DriverError(FUNCTION_NOT_FOUND), 0
        function, layout = found
        code = SUCCESS
        calls = max(1, min(at_most, 2))
        for call in range(1, calls + 1):
            capacity = self._capacity[kind]
            count = ctypes.c_uint(capacity)
            buffer = (layout * capacity)()
            code = int(function(handle, ctypes.byref(count), buffer))
            if code == SUCCESS:
                return [_entry(line) for line in buffer[: min(count.value, capacity)]], call
            if code != INSUFFICIENT_SIZE:
                return DriverError(code), call
            self._capacity[kind] = min(2 * max(count.value, capacity) + 5, _MAX_CAPACITY)
        return DriverError(code), calls

    def _function(self, kind: str) -> tuple[Callable[..., int], type[ctypes.Structure]] | None:
        if self._library is None:
            return None
        name = _FUNCTIONS[kind]
        for suffix, layout in (("_v3", self._layout_v3()), ("_v2", _ProcessV2), ("", _ProcessV1)):
            if hasattr(self._library, name + suffix):
                return getattr(self._library, name + suffix), layout
        return None

    def _layout_v3(self) -> type[ctypes.Structure]:
        is_early = hasattr(self._library, "nvmlDeviceGetConfComputeMemSizeInfo") and not hasattr(
            self._library, "nvmlDeviceGetRunningProcessDetailList"
        )
        return _ProcessV3Early if is_early else _ProcessV2


def _entry(line: ctypes.Structure) -> Entry:
    used: int = line.used
    gpu_instance = _NO_INSTANCE if isinstance(line, _ProcessV1) else int(line.gpu_instance)
    instance = None if gpu_instance == _NO_INSTANCE else (gpu_instance, int(line.compute_instance))
    return Entry(int(line.pid), None if used == NOT_AVAILABLE else used, instance)


def merge(lists: Sequence[tuple[str, Sequence[Entry]]], limit_bytes: int | None) -> tuple[ProcessMemory, ...]:
    """One line a (instance, pid): the largest figure of the lists, never their sum.

    A process with a compute and a graphics context is in both lists with its total in each. A figure above
    `limit_bytes` (the device's total) is nonsense of the driver and becomes unknown. Order: as first listed.
    """
    used: dict[tuple[tuple[int, int] | None, int], int | None] = {}
    contexts: dict[tuple[tuple[int, int] | None, int], list[str]] = {}
    for kind, entries in lists:
        for entry in entries:
            key = (entry.instance, entry.pid)
            figure = entry.used_bytes
            if figure is not None and limit_bytes is not None and figure > limit_bytes:
                figure = None
            known = used.get(key)
            used[key] = figure if known is None else known if figure is None else max(known, figure)
            kinds = contexts.setdefault(key, [])
            if kind not in kinds:
                kinds.append(kind)
    return tuple(ProcessMemory(pid, figure, tuple(contexts[instance, pid])) for (instance, pid), figure in used.items())
