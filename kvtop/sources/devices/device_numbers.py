"""One count of devices over all drivers: "gpu0", "gpu1" … are unique, stable, and one card is counted once.

A driver counts its own cards from 0, and two drivers may report the same card. Cards are distinguished by PCI address
where the driver knows it, else by the driver's own id. A card keeps its number while kvtop runs, also while its driver
is silent and another one reports it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.device import Device


class DeviceNumbers:
    """The numbers that have been given. Call from one thread."""

    def __init__(self) -> None:
        self._by_address: dict[str, int] = {}
        self._by_driver: dict[tuple[str, str], int] = {}
        self._count = 0

    def reserve(self, addresses: Sequence[str]) -> None:
        """Keep the next numbers for these cards: their driver stands first and has not answered yet."""
        for address in addresses:
            if address not in self._by_address:
                self._by_address[address] = self._count
                self._count += 1

    def joined(self, readings: Sequence[Sequence[Device]]) -> tuple[Device, ...]:
        """The devices of all drivers, each reading those of one, under ids of this count.

        Of a card that several drivers report, the first reading's device stays, with its slices.
        """
        devices: list[Device] = []
        reported: set[str] = set()
        for reading in readings:
            addresses = _addresses(reading)
            for device in reading:
                card = device.parent_id or device.id
                address = addresses.get(card)
                if address is None or address not in reported:
                    devices.append(device if device.is_host else self._numbered(device, card, address))
            reported |= {address for address in addresses.values() if address is not None}
        return tuple(devices)

    def _numbered(self, device: Device, card: str, address: str | None) -> Device:
        name = f"gpu{self._number((device.driver.name, card), address)}"
        if device.parent_id is None:
            return device if device.id == name else replace(device, id=name)
        return replace(device, id=name + device.id.removeprefix(card), parent_id=name)

    def _number(self, driver_id: tuple[str, str], address: str | None) -> int:
        """By address; a card that gets its address later keeps the number of its driver's id."""
        number = None if address is None else self._by_address.get(address)
        if number is None:
            number = self._by_driver.get(driver_id)
            if address is not None and number in self._by_address.values():
                number = None  # another card had that id of the driver before
        if number is None:
            number = self._count
            self._count += 1
        if address is not None:
            self._by_address[address] = number
        self._by_driver[driver_id] = number
        return number


def _addresses(reading: Sequence[Device]) -> dict[str, str | None]:
    """The PCI address of each card by its driver's id. One that several cards claim tells nothing."""
    cards = [device for device in reading if device.parent_id is None]
    counts = Counter(card.pci_address for card in cards)
    return {card.id: card.pci_address if counts[card.pci_address] == 1 else None for card in cards}
