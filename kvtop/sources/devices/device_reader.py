"""All devices of this host: every driver read by a thread of its own, and one count of cards over all of them."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from kvtop.domain.device import Device
from kvtop.domain.sample import Failure
from kvtop.sources.devices.backend import BackendDescriptor
from kvtop.sources.devices.device_numbers import DeviceNumbers
from kvtop.sources.devices.driver_thread import DriverThread, KeptOpen, Reading
from kvtop.sources.devices.pci_bus import PciCard, pci_cards

RETRY_SECONDS = 30.0
"""A driver that could not be opened is tried again this often: each try may cost seconds and file descriptors."""


class DeviceReader:
    """All devices of this host, through the given table of backends.

    `read` and `read_once` ask every driver for a refresh and wait up to their deadline; one that is still busy with an
    earlier refresh is not asked again. A driver that hangs is not waited for while others answer. Where a
    driver misses the deadline its last known devices come back as STALE with `measured_at` kept; if there are none, a
    Failure says how long it has been silent. Backends that cannot hang are read by the caller and are always fresh.
    Devices are numbered over all drivers, and a card that two of them report is one device: that of the driver which
    stands first in the table. Call from one thread or event loop.
    """

    def __init__(
        self,
        backends: Sequence[BackendDescriptor],
        *,
        retry_seconds: float = RETRY_SECONDS,
        bus: Callable[[], tuple[PciCard, ...] | None] = pci_cards,
    ) -> None:
        self._backends = tuple(backends)
        self._bus = bus
        self._readers: list[DriverThread | KeptOpen] = [
            DriverThread(entry, retry_seconds) if entry.may_hang else KeptOpen(entry, retry_seconds)
            for entry in backends
        ]
        self._threads = [reader for reader in self._readers if isinstance(reader, DriverThread)]
        self._numbers = DeviceNumbers()

    async def read(self, deadline_seconds: float) -> Reading:
        """Devices and failures; returns within `deadline_seconds` whatever the drivers do."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def all_answered() -> None:
            try:
                loop.call_soon_threadsafe(done.set)
            except RuntimeError:
                return  # the loop closed while a driver was busy: nobody waits any more

        forget = self._request(all_answered)
        if forget is not None:
            try:
                async with asyncio.timeout(deadline_seconds):
                    await done.wait()
            except TimeoutError:
                forget()
        return self._answer()

    def read_once(self, timeout_seconds: float) -> Reading:
        """The same without an event loop."""
        done = threading.Event()
        forget = self._request(done.set)
        if forget is not None and not done.wait(timeout_seconds):
            forget()
        return self._answer()

    def close(self) -> None:
        """Let every thread go after the call it is in, if that ever returns. Returns at once; never waits for it."""
        for thread in self._threads:
            thread.close()

    def _request(self, all_answered: Callable[[], None]) -> Callable[[], None] | None:
        """Ask every driver. `all_answered` is called once those that are waited for have answered.

        Returns what gives up waiting; None where there is no driver to wait for.
        """
        if not self._threads:
            return None
        hanging = [thread for thread in self._threads if thread.is_hanging]
        awaited = [thread for thread in self._threads if thread not in hanging] or hanging
        wake = _Countdown(len(awaited), all_answered).one_less
        for thread in awaited:
            thread.request(wake)

        def forget() -> None:
            for thread in awaited:
                thread.forget(wake)

        return forget

    def _answer(self) -> Reading:
        devices: list[tuple[Device, ...]] = []
        failures: list[Failure] = []
        for reader in self._readers:
            more_devices, more_failures = reader.answer() if isinstance(reader, DriverThread) else reader.read()
            devices.append(more_devices)
            failures += [replace(failure, is_of_driver=True) for failure in more_failures]
        self._reserve_for_late_drivers(devices)
        return self._numbers.joined(devices), tuple(failures)

    def _reserve_for_late_drivers(self, devices: Sequence[Sequence[Device]]) -> None:
        """Cards of a driver that starts slowly keep their place before those of drivers that stand after it.

        Otherwise the graphics of a processor would be gpu0 in one run and gpu1 in the next.
        """
        for at, (backend, reader) in enumerate(zip(self._backends, self._readers, strict=True)):
            is_late = isinstance(reader, DriverThread) and not reader.has_answered
            if is_late and any(not device.is_host for later in devices[at + 1 :] for device in later):
                cards = self._bus() or ()
                self._numbers.reserve([card.address for card in cards if card.vendor in backend.pci_vendors])


class _Countdown:
    """Calls `at_zero` when it has been called by so many threads."""

    def __init__(self, count: int, at_zero: Callable[[], None]) -> None:
        self._left = count
        self._at_zero = at_zero
        self._lock = threading.Lock()

    def one_less(self) -> None:
        """One of them is done."""
        with self._lock:
            self._left -= 1
            is_zero = self._left == 0
        if is_zero:
            self._at_zero()
