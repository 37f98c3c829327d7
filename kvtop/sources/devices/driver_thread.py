"""One daemon thread for one driver, so that a call that never returns freezes neither screen, exit nor other drivers.

A thread inside a driver call cannot be killed, and shutting a driver down under a running call crashes the process
(nvitop issue 222). So the thread is a daemon, is never joined, and the driver is only closed by the thread itself.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from kvtop.domain.device import Device, DeviceState
from kvtop.domain.sample import Failure
from kvtop.io.daemon_thread import NoThreadError, started
from kvtop.io.fault_reports import contained
from kvtop.sources.devices.backend import BackendDescriptor, DriverGoneError, OpenBackend

HANGING_SECONDS = 2.0
STALE_NOTE = "the driver does not answer; figures are as of the last answer"

Reading = tuple[tuple[Device, ...], tuple[Failure, ...]]


class KeptOpen:
    """A backend with what it last said; opens it when due."""

    def __init__(self, entry: BackendDescriptor, retry_seconds: float) -> None:
        self._entry = entry
        self._retry_seconds = retry_seconds
        self._backend: OpenBackend | None = None
        self._failure: Failure | None = None
        self._absent = False
        self._open_after = 0.0
        self._devices: tuple[Device, ...] = ()

    def read(self) -> Reading:
        """As `_read`. Where kvtop itself fails on what a driver answers, its last devices stay, marked stale."""
        try:
            return self._read()
        except Exception as error:  # noqa: BLE001  one driver's answer must not end the look at the others
            self._devices = _stale(self._devices, STALE_NOTE)
            return self._devices, (contained(self._entry.name, error, "reading its devices"),)

    def _read(self) -> Reading:
        """Devices and failures now. While the driver is gone, its last devices stay, marked stale."""
        for _ in range(2):  # the second round is for a driver whose world changed under it
            if self._backend is None and not self._absent and time.monotonic() >= self._open_after:
                self._open()
            if self._backend is None:
                break
            try:
                self._devices = self._backend.read()
            except DriverGoneError as gone:
                self._backend.close()
                self._backend = None
                self._failure = gone.failure
                self._open_after = 0.0 if gone.reopen_now else time.monotonic() + self._retry_seconds
                continue
            self._failure = None
            return self._devices, ()
        self._devices = _stale(self._devices, STALE_NOTE)
        return self._devices, () if self._failure is None else (self._failure,)

    def _open(self) -> None:
        self._open_after = time.monotonic() + self._retry_seconds
        opened = self._entry.open()
        if isinstance(opened, Failure):
            self._failure = opened
        elif opened is None:
            self._absent = True
        else:
            self._backend = opened


class DriverThread:
    """Readings of one driver. A refresh that is still running is waited for and never doubled."""

    def __init__(self, entry: BackendDescriptor, retry_seconds: float) -> None:
        self._name = entry.name
        self._kept = KeptOpen(entry, retry_seconds)
        self._changed = threading.Condition()
        self._busy_since: float | None = None
        self._wanted = False
        self._closed = False
        self._latest: Reading = ((), ())
        self._completed = 0
        self._returned = 0
        self._waiters: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._refused = ""

    @property
    def has_answered(self) -> bool:
        """Whether the driver has ever said what it has."""
        with self._changed:
            return self._completed > 0

    @property
    def is_hanging(self) -> bool:
        """Whether a refresh has been running for so long that others need not wait for it. A slow one is no hang."""
        with self._changed:
            return self._busy_since is not None and time.monotonic() - self._busy_since >= HANGING_SECONDS

    def request(self, wake: Callable[[], None]) -> None:
        """Ask for a refresh; `wake` is called by the thread when it is there."""
        if not self._runs():
            wake()
            return
        with self._changed:
            self._waiters.append(wake)
            if self._busy_since is None:
                self._wanted = True
                self._busy_since = time.monotonic()
                self._changed.notify()

    def _runs(self) -> bool:
        """Whether there is a thread; where the machine gives none now, the next refresh tries again."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=f"kvtop {self._name}", daemon=True)
            try:
                started(thread)
            except NoThreadError as error:
                self._refused = str(error.strerror)
                return False
            self._thread, self._refused = thread, ""
        return True

    def forget(self, wake: Callable[[], None]) -> None:
        """Nobody waits for that refresh any more."""
        with self._changed:
            self._waiters = [waiter for waiter in self._waiters if waiter is not wake]

    def answer(self) -> Reading:
        """What the driver said since the last answer, else its last devices as STALE, else how long it is silent."""
        with self._changed:
            # A refresh that ended between two calls is news too: a driver slower than the deadline still gets shown.
            is_news = self._completed > self._returned
            self._returned = self._completed
            devices, failures = self._latest
            busy_since = self._busy_since
        if is_news:
            return devices, failures
        if self._refused:
            return (), (Failure(self._name, self._refused, "nothing, if it is gone at the next look"),)
        if self._thread is not None and not self._thread.is_alive():
            stopped = Failure(self._name, "reading devices stopped on an error inside kvtop", "start kvtop again")
            return _stale(devices, stopped.message), (stopped,)
        if devices:
            return _stale(devices, STALE_NOTE), failures
        waited = 0 if busy_since is None else int(time.monotonic() - busy_since)
        silent = Failure(
            self._name,
            f"the driver has not answered for {waited} s",
            "wait for it; if it never answers, look for driver errors in the kernel log (dmesg)",
        )
        return (), (silent,)

    def close(self) -> None:
        """Let the thread go after the call it is in, if that ever returns. Returns at once."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._wanted and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                self._wanted = False
            reading = self._kept.read()
            with self._changed:
                self._latest = reading
                self._completed += 1
                self._busy_since = None
                waiters, self._waiters = self._waiters, []
            for wake in waiters:
                wake()


def _stale(devices: tuple[Device, ...], note: str) -> tuple[Device, ...]:
    return tuple(replace(device, state=DeviceState.STALE, note=note) for device in devices)
