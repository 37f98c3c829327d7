"""The GPU of a Mac with Apple's own processor: one memory for all, of which Metal takes up to a limit.

The limit is `iogpu.wired_limit_mb`, and where that is 0 a share of the memory that macOS tells to Metal only: two
thirds up to 32 GiB, three quarters from 36 GiB on (`recommendedMaxWorkingSetSize` in llama.cpp's logs), marked as
estimated. What is in use is the GPU's own count in the I/O registry. macOS lists no process's share of it.
"""

import re
import subprocess
import time
from collections.abc import Callable

from kvtop.domain.device import Device, DeviceMemory, DeviceState
from kvtop.domain.sample import Failure
from kvtop.sources.devices.apple import APPLE
from kvtop.sources.devices.backend import DriverGoneError
from kvtop.text import without_controls

Run = Callable[[tuple[str, ...]], str | None]
"""What a program prints; None where it does not run, fails or takes too long."""

IOREG = ("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")
SYSCTL = ("/usr/sbin/sysctl", "hw.memsize", "iogpu.wired_limit_mb", "machdep.cpu.brand_string")
_LIMIT_SECONDS = 30.0
_TIMEOUT_SECONDS = 5.0
_OUTPUT_LIMIT = 1024 * 1024
_MIB, _GIB = 1024**2, 1024**3
_ROOMY_BYTES = 36 * _GIB
# With its closing quote: "In use system memory (driver)" is another key.
_IN_USE = re.compile(r'"In use system memory"=(\d{1,18})')
_BUSY = re.compile(r'"Device Utilization %"=(\d{1,3})\b')
_MODEL = re.compile(r'"model" = "([^"\n]{1,200})"')
_SETTING = re.compile(r"^(\S+): (.*)$", re.MULTILINE)
_ESTIMATED = "the limit is estimated: iogpu.wired_limit_mb is not set, and macOS reports its default through Metal only"


def run_program(words: tuple[str, ...]) -> str | None:
    """Run one of the system's programs. It is bounded in time; its errors are of no interest."""
    try:
        done = subprocess.run(words, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # sysctl fails for one unknown name and prints the others.
    return done.stdout[:_OUTPUT_LIMIT].decode("utf-8", "replace") or None


class AppleBackend:
    """The one GPU of this Mac."""

    def __init__(self, run: Run = run_program, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._clock = clock
        self._settings: dict[str, str] = {}
        self._settings_after = clock()

    def read(self) -> tuple[Device, ...]:
        """The GPU now. Raises DriverGoneError where the I/O registry does not answer."""
        if self._clock() >= self._settings_after:
            self._settings = dict(_SETTING.findall(self._run(SYSCTL) or ""))
            self._settings_after = self._clock() + _LIMIT_SECONDS
        registry = self._run(IOREG)
        if registry is None:
            raise DriverGoneError(Failure(APPLE.name, "ioreg did not answer", "run ioreg -c IOAccelerator: see why"))
        if "IOAccelerator" not in registry and "PerformanceStatistics" not in registry:
            return ()  # a virtual machine without a GPU
        total, is_estimated = self._limit()
        used = _whole(_IN_USE.search(registry))
        busy = _whole(_BUSY.search(registry))
        model = _MODEL.search(registry)
        name = model[1] if model is not None else self._settings.get("machdep.cpu.brand_string", "Apple GPU")
        free = None if total is None or used is None else max(total - used, 0)
        return (
            Device(
                id="gpu0",
                name=without_controls(name),
                driver=APPLE,
                memory=DeviceMemory(total, used, free),
                processes=None,
                measured_at=time.time(),
                state=DeviceState.OK,
                note=_ESTIMATED if is_estimated else "",
                unified_memory=True,
                utilization_ratio=busy / 100 if busy is not None and busy <= 100 else None,
            ),
        )

    def close(self) -> None:
        """Nothing is held."""

    def _limit(self) -> tuple[int | None, bool]:
        """What Metal may wire, and whether that is estimated."""
        wired, memory = (self._settings.get(name, "") for name in ("iogpu.wired_limit_mb", "hw.memsize"))
        if wired.isascii() and wired.isdigit() and 0 < len(wired) < 12 and int(wired):
            return int(wired) * _MIB, False
        if not (memory.isascii() and memory.isdigit() and len(memory) < 18):
            return None, False
        size = int(memory)
        return (size * 3 // 4 if size >= _ROOMY_BYTES else size * 2 // 3), True


def _whole(match: re.Match[str] | None) -> int | None:
    return None if match is None else int(match[1])
