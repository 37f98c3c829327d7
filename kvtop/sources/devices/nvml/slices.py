"""MIG slices of one card. They come and go while the card runs, and their slots have holes."""

import time

from kvtop.domain.device import Device, DeviceState
from kvtop.sources.devices.host import host_memory
from kvtop.sources.devices.nvml.card import Card, NvmlLibrary
from kvtop.sources.devices.nvml.errors import DriverError

_SLOTS = 7  # the most instances that any part has, where nvmlDeviceGetMaxMigDeviceCount does not say
_UUID_SECONDS = 5.0


class Slices:
    """The slices of `card`, each a device "gpu0:mig1" named by its slot."""

    def __init__(self, driver: NvmlLibrary, card: Card) -> None:
        self._driver = driver
        self._card = card
        self._card_id = card.device_id
        count = driver.ask("nvmlDeviceGetMaxMigDeviceCount", card.handle)
        self._slot_count = count if isinstance(count, int) and count > 0 else _SLOTS
        self._slices: dict[int, Card] = {}
        self._check_uuid_after: dict[int, float] = {}
        self._next_slot = 0
        self.scan(self._slot_count)

    def scan(self, slots: int) -> None:
        """Look at the next few slots (one driver call each, and more for a slice that is met)."""
        for _ in range(min(slots, self._slot_count)):
            slot = self._next_slot
            self._next_slot = (slot + 1) % self._slot_count
            handle = self._driver.ask("nvmlDeviceGetMigDeviceHandleByIndex", self._card.handle, slot)
            if isinstance(handle, DriverError):
                self._slices.pop(slot, None)  # a hole; slots behind it may be taken
            elif slot in self._slices:
                self._slices[slot].handle = handle
            else:
                self._meet(slot, handle)

    def read(self) -> list[Device]:
        """Every slice now, in the order of slots."""
        devices: list[Device] = []
        for slot, known in sorted(self._slices.items()):
            device = known.read()
            is_due = time.monotonic() >= self._check_uuid_after[slot]
            if is_due and device.state is DeviceState.OK and known.calls_left > 0:
                self._check_uuid_after[slot] = time.monotonic() + _UUID_SECONDS
                if known.current_uuid() != known.uuid:  # taken apart, and another one stands in its slot
                    device = self._meet(slot, known.handle).read()
            devices.append(device)
        return devices

    def _meet(self, slot: int, handle: object) -> Card:
        met = Card(self._driver, f"{self._card_id}:mig{slot}", handle, host_memory, parent_id=self._card_id)
        self._slices[slot] = met
        self._check_uuid_after[slot] = time.monotonic() + _UUID_SECONDS
        return met
