"""Cards of one of Intel's drivers: totals from the driver where it may be asked, shares from fdinfo.

Graphics on the processor's die sit at 00:02.0 on every Intel processor, and their memory is the machine's.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from kvtop.domain.device import Device, DeviceMemory, DeviceState, ProcessMemory
from kvtop.domain.driver import Driver
from kvtop.sources.devices.drm.cards import DrmCard, drm_cards
from kvtop.sources.devices.drm.clients import DrmClients, OpenCard, held_by
from kvtop.sources.devices.drm.text_files import names_in, read_whole
from kvtop.sources.devices.host import host_memory
from kvtop.sources.devices.intel.names import name_of
from kvtop.sources.devices.intel.regions import CardMemory, card_memory
from kvtop.text import without_controls

_ON_THE_DIE = "00:02.0"
_OWN = ("vram", "local")
"""Regions of the card's own memory: vram0 … of xe, local0 … of i915."""
_MAPPED = ("system", "gtt")
"""Of the machine's: resident there for the card. Stolen memory is in neither."""
_RESCAN_SECONDS = 5.0
_SUMMED = "used is the sum of the visible processes: the driver reports the total to root only"

AskMemory = Callable[[str, Path], CardMemory | None]


class IntelBackend:
    """The cards of `driver` under `root`. Everything is read by one thread."""

    def __init__(
        self,
        driver: Driver,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
        host_memory: Callable[[], DeviceMemory] = host_memory,
        ask_memory: AskMemory = card_memory,
    ) -> None:
        self._driver = driver
        self._root = root
        self._clock = clock
        self._host_memory = host_memory
        self._ask_memory = ask_memory
        self._names = frozenset({driver.name})
        self._clients = DrmClients(self._names, root, clock)
        self._cards: tuple[DrmCard, ...] = ()
        self._card_names: dict[str, str] = {}
        self._scan_after = clock()

    def read(self) -> tuple[Device, ...]:
        """Every card now, in the order of PCI addresses."""
        if self._clock() >= self._scan_after:
            self._scan_after = self._clock() + _RESCAN_SECONDS
            self._cards = drm_cards(self._root, self._names)
        if not self._cards:
            return ()
        clients = self._clients.read()
        return tuple(self._read(f"gpu{index}", card, clients) for index, card in enumerate(self._cards))

    def close(self) -> None:
        """Nothing is held."""

    def _read(self, device_id: str, card: DrmCard, clients: tuple[OpenCard, ...]) -> Device:
        on_the_die = card.pci_address.endswith(_ON_THE_DIE)
        held = held_by(clients, card.pci_address, _share_on_the_die if on_the_die else _share_of_a_card)
        sizes = [size for size in held.values() if size is not None]
        visible = sum(sizes) if len(sizes) == len(held) else None
        is_gone = not card.home.is_dir()
        known = None if is_gone or on_the_die else self._own_memory(card)
        memory = self._shared_memory(visible) if on_the_die else _memory(known, visible)
        is_summed = not on_the_die and (known is None or known.used_bytes is None)
        state, note = DeviceState.OK, _SUMMED if is_summed else ""
        if is_gone:
            state, note = DeviceState.LOST, "the card is gone"
        elif memory.total_bytes is None:
            state, note = DeviceState.ERROR, "its memory may not be asked for: join the group of /dev/dri/renderD*"
        asleep = is_gone or card.is_suspended
        celsius = None if asleep else card.sensor("temp2_input", "temp1_input")
        return Device(
            id=device_id,
            name=self._name(card),
            driver=self._driver,
            memory=memory,
            processes=tuple(ProcessMemory(pid, size, ("graphics",)) for pid, size in sorted(held.items())),
            measured_at=time.time(),
            state=state,
            note=note,
            unified_memory=on_the_die,
            temperature_celsius=celsius / 1000 if celsius is not None and celsius < 200_000 else None,
            pci_address=card.pci_address,
            lists_all_processes=self._clients.closed_count == 0,
        )

    def _name(self, card: DrmCard) -> str:
        if card.pci_address not in self._card_names:
            self._card_names[card.pci_address] = without_controls(name_of(card, self._root))
        return self._card_names[card.pci_address]

    def _own_memory(self, card: DrmCard) -> CardMemory | None:
        """As the driver answers; the size alone from sysfs where the node may not be opened (xe)."""
        for name in names_in(card.home / "drm"):
            if name.startswith("renderD"):
                answer = self._ask_memory(card.driver, self._root / "dev/dri" / name)
                if answer is not None:
                    return answer
        tiles = [name for name in names_in(card.home) if name.startswith("tile")]
        sizes = [read_whole(card.home / tile / "physical_vram_size_bytes") for tile in tiles]
        known = [size for size in sizes if size]
        return CardMemory(sum(known), None) if known else None

    def _shared_memory(self, visible_bytes: int | None) -> DeviceMemory:
        host = self._host_memory()
        return DeviceMemory(host.total_bytes, visible_bytes, host.free_bytes)


def _share_of_a_card(regions: Mapping[str, int]) -> int:
    return sum(_sum(regions, prefix) for prefix in _OWN)


def _share_on_the_die(regions: Mapping[str, int]) -> int:
    """The larger of system and gtt: gtt counts what is mapped of system memory (xe)."""
    return max(_sum(regions, prefix) for prefix in _MAPPED)


def _sum(regions: Mapping[str, int], prefix: str) -> int:
    return sum(size for name, size in regions.items() if name.rstrip("0123456789") == prefix)


def _memory(known: CardMemory | None, visible_bytes: int | None) -> DeviceMemory:
    """What the driver tells, and where it does not what the processes hold that may be looked at."""
    if known is None:
        return DeviceMemory(used_bytes=visible_bytes)
    used = visible_bytes if known.used_bytes is None else known.used_bytes
    if used is None:
        return DeviceMemory(known.total_bytes)
    used = min(used, known.total_bytes)
    return DeviceMemory(known.total_bytes, used, known.total_bytes - used)


def open_backend(driver: Driver, root: Path = Path("/")) -> IntelBackend | None:
    """None where there is no sysfs. Cards that come later are found by the open backend."""
    return IntelBackend(driver, root) if (root / "sys/class/drm").is_dir() else None
