"""Reads drivers from one daemon thread, so that a driver call that never returns freezes neither screen nor exit.

A thread inside a driver call cannot be killed, and shutting a driver down under a running call crashes the process
(nvitop issue 222). So the thread is a daemon, is never joined, and drivers are only closed by the thread itself.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kvtop.domain.device import Device, DeviceState
from kvtop.domain.sample import Failure

RETRY_SECONDS = 30.0
"""A driver that could not be opened is tried again this often: each try may cost seconds and file descriptors."""

STALE_NOTE = "the driver does not answer; figures are as of the last answer"


class Backend(Protocol):
    """One open driver. All calls come from one thread."""

    def read(self) -> tuple[Device, ...]:
        """Every device now; a failing device is a Device with a state. Raises DriverGoneError for the whole driver."""

    def close(self) -> None:
        """Let go of the driver. Never called while `read` runs."""


class DriverGoneError(Exception):
    """The driver as a whole must be opened again. `reopen_now`: it works, but its world changed (a card came)."""

    def __init__(self, failure: Failure, *, reopen_now: bool = False) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.reopen_now = reopen_now


Opener = Callable[[], Backend | Failure | None]
"""None: this kind of device cannot exist on this platform. Failure: it may exist but does not answer."""


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """One line of the table of backends. `may_hang`: it calls a driver, so it is read from the thread."""

    name: str
    open: Opener
    may_hang: bool = True


Reading = tuple[tuple[Device, ...], tuple[Failure, ...]]


class _OpenBackend:
    """A backend with what it last said; opens it when due."""

    def __init__(self, entry: BackendEntry, retry_seconds: float) -> None:
        self._entry = entry
        self._retry_seconds = retry_seconds
        self._backend: Backend | None = None
        self._failure: Failure | None = None
        self._absent = False
        self._open_after = 0.0
        self._devices: tuple[Device, ...] = ()

    def read(self) -> Reading:
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


class DeviceReader:
    """All devices of this host, through the given table of backends.

    `read` and `read_once` ask for a refresh and wait for it up to their deadline. A refresh that is still running is
    waited for and never doubled, so slow reads do not queue up. Past the deadline the last known devices come back
    as STALE with `measured_at` kept; if there are none, a Failure says how long the driver has been silent.
    Backends that cannot hang are read by the caller and are always fresh. Call from one thread or event loop.
    """

    def __init__(self, backends: Sequence[BackendEntry], *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._drivers = [_OpenBackend(entry, retry_seconds) for entry in backends if entry.may_hang]
        self._driver_names = ", ".join(entry.name for entry in backends if entry.may_hang)
        self._quick = [_OpenBackend(entry, retry_seconds) for entry in backends if not entry.may_hang]
        self._changed = threading.Condition()
        self._busy_since: float | None = None
        self._wanted = False
        self._closed = False
        self._latest: Reading = ((), ())
        self._completed = 0
        self._returned = 0
        self._waiters: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None

    async def read(self, deadline_seconds: float) -> Reading:
        """Devices and failures; returns within `deadline_seconds` whatever the driver does."""
        if not self._drivers:
            return self._with_quick(((), ()))
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(done.set)
            except RuntimeError:
                return  # the loop closed while the driver was busy: nobody waits any more

        self._request(wake)
        try:
            async with asyncio.timeout(deadline_seconds):
                await done.wait()
        except TimeoutError:
            self._forget(wake)
        return self._answer()

    def read_once(self, timeout_seconds: float) -> Reading:
        """The same without an event loop."""
        if not self._drivers:
            return self._with_quick(((), ()))
        done = threading.Event()
        self._request(done.set)
        if not done.wait(timeout_seconds):
            self._forget(done.set)
        return self._answer()

    def close(self) -> None:
        """Let the thread go after the call it is in, if that ever returns. Returns at once; never waits for it."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _request(self, wake: Callable[[], None]) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="kvtop devices", daemon=True)
                self._thread.start()
            self._waiters.append(wake)
            if self._busy_since is None:
                self._wanted = True
                self._busy_since = time.monotonic()
                self._changed.notify()

    def _forget(self, wake: Callable[[], None]) -> None:
        with self._changed:
            self._waiters = [waiter for waiter in self._waiters if waiter is not wake]

    def _answer(self) -> Reading:
        with self._changed:
            # A refresh that ended between two calls is news too: a driver slower than the deadline still gets shown.
            is_news = self._completed > self._returned
            self._returned = self._completed
            devices, failures = self._latest
            busy_since = self._busy_since
        if is_news:
            return self._with_quick((devices, failures))
        if self._thread is not None and not self._thread.is_alive():
            stopped = Failure(
                self._driver_names, "reading devices stopped on an error inside kvtop", "start kvtop again"
            )
            return self._with_quick((_stale(devices, stopped.message), (stopped,)))
        if devices:
            return self._with_quick((_stale(devices, STALE_NOTE), failures))
        waited = 0 if busy_since is None else int(time.monotonic() - busy_since)
        silent = Failure(
            self._driver_names,
            f"the driver has not answered for {waited} s",
            "wait for it; if it never answers, look for driver errors in the kernel log (dmesg)",
        )
        return self._with_quick(((), (silent,)))

    def _with_quick(self, reading: Reading) -> Reading:
        devices, failures = reading
        for backend in self._quick:
            more_devices, more_failures = backend.read()
            devices += more_devices
            failures += more_failures
        return devices, failures

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._wanted and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                self._wanted = False
            devices: tuple[Device, ...] = ()
            failures: tuple[Failure, ...] = ()
            for driver in self._drivers:
                more_devices, more_failures = driver.read()
                devices += more_devices
                failures += more_failures
            with self._changed:
                self._latest = (devices, failures)
                self._completed += 1
                self._busy_since = None
                waiters, self._waiters = self._waiters, []
            for wake in waiters:
                wake()


def _stale(devices: tuple[Device, ...], note: str) -> tuple[Device, ...]:
    return tuple(replace(device, state=DeviceState.STALE, note=note) for device in devices)
