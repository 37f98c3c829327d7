"""NVIDIA devices through NVML (`pynvml`, distribution nvidia-ml-py): cards, and MIG slices as devices of their own.

One thread owns everything here. `open_backend` initialises once; cards are met once and then only refreshed.
"""

import contextlib
import ctypes
import sys
import time
import warnings
from typing import Any

from kvtop.domain.device import Device, DeviceMemory, DeviceState
from kvtop.domain.sample import Failure
from kvtop.sources.devices.backend import DriverGoneError
from kvtop.sources.devices.host import host_memory
from kvtop.sources.devices.nvml import NVML
from kvtop.sources.devices.nvml.card import Card, DriverLostError
from kvtop.sources.devices.nvml.errors import (
    DRIVER_GONE_CODES,
    FUNCTION_NOT_FOUND,
    LOST_CODES,
    DriverError,
    driver_failure,
)
from kvtop.sources.devices.nvml.lists import ProcessLists
from kvtop.sources.devices.nvml.slices import Slices
from kvtop.sources.devices.nvml.slow import CARD_QUESTIONS, COUNT, SlowQuery
from kvtop.sources.devices.nvml.text import read_text

with warnings.catch_warnings():
    # A distribution named pynvml beside ours prints a FutureWarning here, into whatever is on the screen.
    warnings.simplefilter("ignore")
    import pynvml

_LIBRARY = "libnvidia-ml.so.1"
_RETRY_HANDLE_SECONDS = 5.0
_BINDING_ERRORS: tuple[type[Exception], ...] = tuple(
    # NVMLLibraryMismatchError is no NVMLError, and older bindings do not have it. The others come from the binding's
    # own Python: names that are not UTF-8, None where it wants a number, calls that an old binding does not offer.
    error
    for error in (
        getattr(pynvml, "NVMLError", None),
        getattr(pynvml, "NVMLLibraryMismatchError", None),
        ctypes.ArgumentError,
        UnicodeDecodeError,
        TypeError,
        OSError,
    )
    if error is not None
)


class NvmlDriver:
    """The binding without its exceptions: every call gives a value or a DriverError."""

    def __init__(self) -> None:
        self._library: ctypes.CDLL | None = None

    def ask(self, function: str, *arguments: object) -> Any:  # noqa: ANN401  the binding carries no types
        """The value of one call of the binding, or a DriverError. Codes are compared, never exceptions: NVMLError
        is unhashable and its `==` fails on anything else."""
        call = getattr(pynvml, function, None)
        if call is None:
            return DriverError(FUNCTION_NOT_FOUND)
        try:
            return call(*arguments)
        except _BINDING_ERRORS as error:
            code = getattr(error, "value", None)
            return DriverError(code if isinstance(code, int) else None, type(error).__name__)

    def load_library(self) -> None:
        """The library that the binding has loaded: the loader gives the same one for the same name."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._library = ctypes.CDLL(_LIBRARY)

    def text(self, function: str, handle: object) -> str | DriverError:
        """A text that is safe to show, or a DriverError."""
        return read_text(self._library, function, handle)

    def process_lists(self) -> ProcessLists:
        """Process lists for one more device."""
        return ProcessLists(self._library)


class _MissingCard:
    """A card that is counted but gives no handle (lost before kvtop started). Asked again every few seconds."""

    def __init__(self, device_id: str, error: DriverError) -> None:
        self.ask_after = time.monotonic() + _RETRY_HANDLE_SECONDS
        self.device = Device(
            id=device_id,
            name="unknown name",
            driver=NVML,
            memory=DeviceMemory(),
            processes=None,
            measured_at=time.time(),
            state=DeviceState.LOST if error.code in LOST_CODES else DeviceState.ERROR,
            note=error.words,
        )


class NvmlBackend:
    """All NVIDIA devices of an initialised driver."""

    def __init__(self, driver: NvmlDriver, count: int) -> None:
        self._driver = driver
        self._count = count
        self._cards: list[Card | _MissingCard] = [self._meet(index) for index in range(count)]
        self._slices: dict[int, Slices] = {}

    def read(self) -> tuple[Device, ...]:
        """Every card and slice now. A card that fails is a Device that says so and leaves the others alone."""
        devices: list[Device] = []
        try:
            for index in range(self._count):
                devices.extend(self._read_card(index))
        except DriverLostError as lost:
            raise DriverGoneError(driver_failure(lost.error)) from lost
        first = self._cards[0] if self._cards else None
        now_counted = first.slow.device_count if isinstance(first, Card) else None
        if now_counted is not None and now_counted != self._count:
            # Handles are fixed when the driver is initialised, so a card that came or went needs a new start.
            counted = f"the driver now counts {now_counted} devices instead of {self._count}"
            changed = Failure(NVML.name, counted, "nothing: they are read anew")
            raise DriverGoneError(changed, reopen_now=True)
        return tuple(devices)

    def close(self) -> None:
        """Only ever called by the thread that reads, between two reads: a shutdown under a call would crash."""
        self._driver.ask("nvmlShutdown")

    def _meet(self, index: int) -> Card | _MissingCard:
        handle = self._driver.ask("nvmlDeviceGetHandleByIndex", index)
        if isinstance(handle, DriverError):
            if handle.code in DRIVER_GONE_CODES:
                raise DriverLostError(handle)
            return _MissingCard(f"gpu{index}", handle)
        questions = (*CARD_QUESTIONS, SlowQuery(COUNT)) if index == 0 else CARD_QUESTIONS
        return Card(self._driver, f"gpu{index}", handle, host_memory, questions=questions)

    def _read_card(self, index: int) -> list[Device]:
        card = self._cards[index]
        if isinstance(card, _MissingCard):
            if time.monotonic() >= card.ask_after:
                card = self._cards[index] = self._meet(index)
            if isinstance(card, _MissingCard):
                return [card.device]
        device = card.read()
        if not card.slow.is_mig_on:
            self._slices.pop(index, None)
            return [device]
        slices = self._slices.get(index)
        if slices is None:
            slices = self._slices[index] = Slices(self._driver, card)
        elif device.state is DeviceState.OK:
            slices.scan(card.calls_left)
        return [device, *slices.read()]


def open_backend() -> NvmlBackend | Failure | None:
    """Initialise NVML. None on macOS, which has no NVIDIA driver; a Failure with the remedy where it does not start."""
    if sys.platform == "darwin":
        return None
    driver = NvmlDriver()
    started = driver.ask("nvmlInit")
    if isinstance(started, DriverError):
        return driver_failure(started)
    driver.load_library()
    count = driver.ask("nvmlDeviceGetCount")
    if isinstance(count, DriverError):
        driver.ask("nvmlShutdown")
        return driver_failure(count)
    try:
        return NvmlBackend(driver, count)
    except DriverLostError as lost:
        driver.ask("nvmlShutdown")
        return driver_failure(lost.error)
