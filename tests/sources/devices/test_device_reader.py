"""The reader keeps its deadline whatever a backend does. Backends here are small ones of the tests' own."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from kvtop.domain.device import Device, DeviceMemory, DeviceState
from kvtop.domain.driver import Driver
from kvtop.domain.sample import Failure
from kvtop.sources.devices.backend import BackendDescriptor, DriverGoneError
from kvtop.sources.devices.device_reader import DeviceReader
from kvtop.sources.devices.driver_thread import HANGING_SECONDS
from kvtop.sources.devices.pci_bus import PciCard

FAKE = Driver("fake")


class _Driver:
    """Answers at once while `gate` is open, and as soon as it opens otherwise. `fault` is raised once."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.opened = 0
        self.closed = 0
        self.reads = 0

    def open(self) -> "_Driver":
        self.opened += 1
        return self

    def read(self) -> tuple[Device, ...]:
        self.gate.wait()
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        self.reads += 1
        return (
            Device(
                "gpu0",
                "a card",
                FAKE,
                DeviceMemory(used_bytes=self.reads),
                (),
                float(self.reads),
                pci_address=self.address,
            ),
        )

    def close(self) -> None:
        self.closed += 1


def _reader(driver: _Driver, retry_seconds: float = 30.0) -> DeviceReader:
    return DeviceReader([BackendDescriptor(FAKE, driver.open)], retry_seconds=retry_seconds)


async def test_each_read_asks_once_and_gets_the_new_figures() -> None:
    driver = _Driver()
    reader = _reader(driver)
    for turn in (1, 2, 3):
        devices, failures = await reader.read(60)
        assert [device.measured_at for device in devices] == [turn]
        assert failures == ()
    assert (driver.opened, driver.reads) == (1, 3)


async def test_the_event_loop_runs_on_while_a_driver_hangs() -> None:
    driver = _Driver()
    reader = _reader(driver)
    await reader.read(60)
    driver.gate.clear()
    reading = asyncio.ensure_future(reader.read(1.0))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 1  # a loop that waits with it comes to its second turn only when all is over
    devices, failures = reading.result()
    assert [(device.state, device.measured_at) for device in devices] == [(DeviceState.STALE, 1.0)]
    assert failures == ()
    driver.gate.set()
    devices, _ = await reader.read(60)
    assert [device.state for device in devices] == [DeviceState.OK]
    assert devices[0].measured_at <= 3  # the asks in between did not queue up


def test_an_answer_after_the_loop_has_closed_harms_nobody() -> None:
    driver = _Driver()
    reader = _reader(driver)
    driver.gate.clear()
    devices, (failure,) = asyncio.run(reader.read(0.05))
    assert devices == ()
    assert failure.source == "fake"
    driver.gate.set()
    devices, failures = reader.read_once(60)
    assert [device.id for device in devices] == ["gpu0"]
    assert failures == ()


def test_a_backend_that_cannot_exist_here_is_silent() -> None:
    asked = 0

    def no_driver() -> None:
        nonlocal asked
        asked += 1

    reader = DeviceReader([BackendDescriptor(FAKE, no_driver)], retry_seconds=0.0)
    assert reader.read_once(60) == ((), ())
    assert reader.read_once(60) == ((), ())
    assert asked == 1


def test_a_driver_that_does_not_open_is_tried_again_when_due() -> None:
    answers = [Failure("fake", "not yet")]
    driver = _Driver()
    reader = DeviceReader([BackendDescriptor(FAKE, lambda: answers[0] if answers else driver)], retry_seconds=2.0)
    assert reader.read_once(60) == ((), (Failure("fake", "not yet", is_of_driver=True),))
    answers.clear()
    assert reader.read_once(60)[1] == (Failure("fake", "not yet", is_of_driver=True),)
    ends = time.monotonic() + 60
    while not (told := reader.read_once(60))[0] and time.monotonic() < ends:
        time.sleep(0.1)
    devices, failures = told
    assert (len(devices), failures) == (1, ())


@pytest.mark.parametrize("reopen_now", [True, False])
def test_a_driver_that_goes_is_closed_and_opened_again(reopen_now: bool) -> None:
    driver = _Driver()
    reader = _reader(driver)
    reader.read_once(60)
    gone = Failure("fake", "gone", is_of_driver=True)
    driver.fault = DriverGoneError(gone, reopen_now=reopen_now)
    devices, failures = reader.read_once(60)
    assert driver.closed == 1
    if reopen_now:
        assert (driver.opened, devices[0].state, failures) == (2, DeviceState.OK, ())
    else:
        assert (driver.opened, devices[0].state, failures) == (
            1,
            DeviceState.STALE,
            (gone,),
        )


def test_an_error_inside_kvtop_is_said_and_the_next_look_is_a_look_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    driver = _Driver()
    reader = _reader(driver)
    reader.read_once(60)
    driver.fault = RuntimeError("a mistake of ours")
    devices, (failure,) = reader.read_once(60)
    assert devices[0].state is DeviceState.STALE
    assert failure.source == "fake"
    assert "internal error of kvtop (RuntimeError at" in failure.message
    devices, failures = reader.read_once(60)
    assert (devices[0].state, failures) == (DeviceState.OK, ())


def test_closing_returns_at_once_and_lets_the_thread_go() -> None:
    before = set(threading.enumerate())
    reader = _reader(_Driver())
    reader.read_once(60)
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon
    reader.close()
    thread.join(60)
    assert not thread.is_alive()


def test_a_slow_driver_is_waited_for_beside_a_quick_one() -> None:
    """Slower than one deadline, and not hanging: the next read has its figures."""
    slow, quick = _Driver(), _Driver()
    reader = DeviceReader(
        [BackendDescriptor(FAKE, slow.open), BackendDescriptor(Driver("quick"), quick.open)], retry_seconds=30.0
    )
    reader.read_once(60)
    slow.gate.clear()
    devices, _ = reader.read_once(0.2)
    assert [device.state for device in devices] == [DeviceState.STALE, DeviceState.OK]
    threading.Timer(0.3, slow.gate.set).start()
    devices, _ = reader.read_once(60)
    assert [device.state for device in devices] == [DeviceState.OK, DeviceState.OK]


def test_one_that_hangs_is_not_waited_for() -> None:
    slow, quick = _Driver(), _Driver()
    reader = DeviceReader(
        [BackendDescriptor(FAKE, slow.open), BackendDescriptor(Driver("quick"), quick.open)], retry_seconds=30.0
    )
    reader.read_once(60)
    slow.gate.clear()
    reader.read_once(HANGING_SECONDS)
    started = time.monotonic()
    devices, _ = reader.read_once(60)
    assert time.monotonic() - started < 30
    assert [device.state for device in devices] == [DeviceState.STALE, DeviceState.OK]
    slow.gate.set()


def test_a_driver_that_starts_slowly_keeps_its_place_in_the_count() -> None:
    """Its cards are on the bus: a quicker driver's card does not become gpu0 before they are read."""
    slow, quick = _Driver("0000:01:00.0"), _Driver("0000:43:00.0")
    table = [
        BackendDescriptor(FAKE, slow.open, pci_vendors=("0x1",)),
        BackendDescriptor(Driver("quick"), quick.open, pci_vendors=("0x2",)),
    ]
    cards = tuple(PciCard(address, vendor) for address, vendor in (("0000:01:00.0", "0x1"), ("0000:43:00.0", "0x2")))
    slow.gate.clear()
    reader = DeviceReader(table, bus=lambda: cards)
    devices, _ = reader.read_once(0.3)
    assert [device.id for device in devices] == ["gpu1"]
    slow.gate.set()
    devices, _ = reader.read_once(60)
    assert [(device.id, device.pci_address) for device in devices] == [
        ("gpu0", "0000:01:00.0"),
        ("gpu1", "0000:43:00.0"),
    ]


def test_a_driver_that_hangs_without_a_card_on_the_bus_takes_no_number() -> None:
    slow, quick = _Driver(), _Driver()
    slow.gate.clear()
    reader = DeviceReader(
        [BackendDescriptor(FAKE, slow.open, pci_vendors=("0x1",)), BackendDescriptor(Driver("quick"), quick.open)],
        bus=lambda: (PciCard("0000:43:00.0", "0x2"),),
    )
    devices, _ = reader.read_once(0.3)
    assert [device.id for device in devices] == ["gpu0"]
    slow.gate.set()


def test_a_machine_that_gives_no_thread_is_weathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passing limit (pids.max) ended exporters: the next look has the devices."""
    reader = _reader(_Driver())
    with monkeypatch.context() as refused:

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        refused.setattr(threading.Thread, "start", refuse)
        devices, failures = asyncio.run(reader.read(5.0))
    assert devices == ()
    assert ["no more threads" in it.message for it in failures] == [True]
    devices, failures = asyncio.run(reader.read(20.0))
    assert [device.id for device in devices] == ["gpu0"]
    assert failures == ()
    reader.close()
