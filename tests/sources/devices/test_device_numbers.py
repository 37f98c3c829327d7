"""One count over all drivers: unique, stable, one device a card."""

from dataclasses import replace

from kvtop.domain.device import Device, DeviceMemory
from kvtop.domain.driver import HOST_DRIVER, Driver
from kvtop.sources.devices.device_numbers import DeviceNumbers

ONE, OTHER = Driver("one"), Driver("other")
A, B = "0000:03:00.0", "0000:43:00.0"


def card(driver: Driver, index: int, address: str | None = None) -> Device:
    return Device(f"gpu{index}", "card", driver, DeviceMemory(), (), 0.0, pci_address=address)


def slice_of(parent: Device, slot: int) -> Device:
    return replace(parent, id=f"{parent.id}:mig{slot}", parent_id=parent.id, pci_address=None)


def names(devices: tuple[Device, ...]) -> list[tuple[str, str]]:
    return [(device.id, device.driver.name) for device in devices]


def test_cards_without_an_address_are_told_apart_by_their_driver() -> None:
    found = DeviceNumbers().joined([(card(ONE, 0), card(ONE, 1)), (card(OTHER, 0),)])
    assert names(found) == [("gpu0", "one"), ("gpu1", "one"), ("gpu2", "other")]


def test_the_host_has_no_number() -> None:
    host = Device("host", "host memory", HOST_DRIVER, DeviceMemory(), (), 0.0)
    assert names(DeviceNumbers().joined([(card(ONE, 0),), (host,)])) == [("gpu0", "one"), ("host", "host")]


def test_slices_follow_their_card() -> None:
    first, second = card(ONE, 0, A), card(OTHER, 0, B)
    found = DeviceNumbers().joined([(first,), (second, slice_of(second, 3))])
    assert [(device.id, device.parent_id) for device in found] == [
        ("gpu0", None),
        ("gpu1", None),
        ("gpu1:mig3", "gpu1"),
    ]


def test_of_a_card_that_two_report_the_first_stays_with_its_slices() -> None:
    ours, theirs = card(ONE, 0, A), card(OTHER, 4, A)
    found = DeviceNumbers().joined([(ours, slice_of(ours, 1)), (theirs, slice_of(theirs, 2), card(OTHER, 5, B))])
    assert names(found) == [("gpu0", "one"), ("gpu0:mig1", "one"), ("gpu1", "other")]


def test_a_card_has_its_number_whoever_reports_it() -> None:
    numbers = DeviceNumbers()
    assert names(numbers.joined([(card(ONE, 0, A),), (card(OTHER, 0, A), card(OTHER, 1, B))])) == [
        ("gpu0", "one"),
        ("gpu1", "other"),
    ]
    assert names(numbers.joined([(), (card(OTHER, 0, B), card(OTHER, 1, A))])) == [("gpu1", "other"), ("gpu0", "other")]


def test_a_card_that_gets_its_address_later_keeps_its_number() -> None:
    """A card that gives no handle at first has no address."""
    numbers = DeviceNumbers()
    numbers.joined([(card(ONE, 0, A), card(ONE, 1))])
    assert names(numbers.joined([(card(ONE, 0, A), card(ONE, 1, B))])) == [("gpu0", "one"), ("gpu1", "one")]


def test_another_card_under_an_old_id_gets_a_number_of_its_own() -> None:
    numbers = DeviceNumbers()
    numbers.joined([(card(ONE, 0, A),)])
    assert names(numbers.joined([(card(ONE, 0, B),)])) == [("gpu1", "one")]
    assert names(numbers.joined([(card(ONE, 0, A), card(ONE, 1, B))])) == [("gpu0", "one"), ("gpu1", "one")]


def test_an_address_that_several_cards_claim_tells_nothing() -> None:
    """Virtual machines show one for all of them."""
    found = DeviceNumbers().joined([(card(ONE, 0, A), card(ONE, 1, A))])
    assert names(found) == [("gpu0", "one"), ("gpu1", "one")]
