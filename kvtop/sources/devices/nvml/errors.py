"""NVML's return codes in plain words, and what to do about those that stop the whole driver.

Codes and their meaning: nvml.h, enum nvmlReturn_t (API 13).
"""

from dataclasses import dataclass

from kvtop.domain.sample import Failure
from kvtop.sources.devices.nvml import NVML

SUCCESS = 0
UNINITIALIZED = 1
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
VERSION_MISMATCH = 18
UNKNOWN = 999

LOST_CODES = frozenset({GPU_IS_LOST, RESET_REQUIRED})
DRIVER_GONE_CODES = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, VERSION_MISMATCH})
"""Answers of a device call that are about the driver and not about the device: it must be opened again."""
ABSENT_CODES = frozenset({NOT_SUPPORTED, FUNCTION_NOT_FOUND})
"""This driver or card will never answer the question."""

_WORDS = {
    1: "uninitialized",
    2: "invalid argument",
    3: "not supported",
    4: "insufficient permissions",
    6: "not found",
    7: "insufficient size",
    9: "driver not loaded",
    10: "timeout",
    12: "libnvidia-ml.so.1 not found",
    13: "function not found",
    15: "GPU is lost",
    16: "GPU requires a reset",
    17: "blocked by the operating system",
    18: "driver and library versions differ",
    20: "insufficient memory",
    25: "version of the argument not known",
    999: "unknown error",
}

_REMEDIES = {
    DRIVER_NOT_LOADED: (
        "the NVIDIA driver is not loaded",
        "load it (modprobe nvidia) and look for the reason in the kernel log (dmesg)",
    ),
    LIBRARY_NOT_FOUND: (
        "no NVIDIA driver library (libnvidia-ml.so.1) on this machine",
        "nothing to do without an NVIDIA card; with one, install its driver or let the container see it",
    ),
    VERSION_MISMATCH: (
        "the NVIDIA library was updated but the loaded kernel module was not",
        "reboot, or reload the NVIDIA kernel modules, then start kvtop again",
    ),
    NO_PERMISSION: (
        "no permission to talk to the NVIDIA driver",
        "check the permissions of /dev/nvidia* for this user",
    ),
    UNKNOWN: (
        "the NVIDIA driver reports an unknown error",
        "in a container that lost its devices, restart the container; otherwise look into the kernel log (dmesg)",
    ),
}


@dataclass(frozen=True, slots=True)
class DriverError:
    """What the driver answered instead of a value. `code` is None when the binding failed before or after the call."""

    code: int | None
    detail: str = ""

    @property
    def words(self) -> str:
        """The driver's words, or a number where this version of kvtop does not know the code."""
        if self.code is None:
            return self.detail or "the NVML binding failed"
        return _WORDS.get(self.code, f"NVML error {self.code}")


def driver_failure(error: DriverError) -> Failure:
    """One line for a driver that cannot be used at all, with the one thing to do."""
    if error.code in _REMEDIES:
        message, remedy = _REMEDIES[error.code]
        return Failure(NVML.name, f"{message} (NVML error {error.code})", remedy)
    return Failure(
        NVML.name, f"the NVIDIA driver cannot be used: {error.words}", "run nvidia-smi: it asks the same driver"
    )
