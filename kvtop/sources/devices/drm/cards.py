"""Cards of one DRM driver, found in /sys/class/drm, and what sysfs tells of each whoever made it."""

import re
from dataclasses import dataclass
from pathlib import Path

from kvtop.sources.devices.drm.text_files import names_in, read_text, read_whole

_CARD = re.compile(r"card\d{1,4}")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


@dataclass(frozen=True, slots=True)
class DrmCard:
    """One card. `home` is its device's folder, `node` the name under /sys/class/drm ("card0")."""

    home: Path
    node: str
    driver: str
    pci_address: str

    @property
    def is_suspended(self) -> bool:
        """Whether the kernel has switched it off. Sensors are not asked then: some drivers would wake it for that."""
        return (read_text(self.home / "power/runtime_status") or "").strip() == "suspended"

    def number(self, name: str) -> int | None:
        """The number in a file of the device's folder."""
        return read_whole(self.home / name)

    def text(self, name: str) -> str:
        """The text in a file of the device's folder, without blanks around it; "" where there is none."""
        return (read_text(self.home / name) or "").strip()

    def sensor(self, *names: str) -> int | None:
        """The first of these files that its hwmon has."""
        for folder in names_in(self.home / "hwmon"):
            for name in names:
                found = read_whole(self.home / "hwmon" / folder / name)
                if found is not None:
                    return found
        return None


def drm_cards(root: Path, drivers: frozenset[str]) -> tuple[DrmCard, ...]:
    """The cards of these drivers in the order of their PCI addresses."""
    found = []
    for node in names_in(root / "sys/class/drm"):
        home = root / "sys/class/drm" / node / "device"
        if not _CARD.fullmatch(node):
            continue  # connectors, render nodes, version
        try:
            address, driver = home.resolve(strict=True).name.lower(), (home / "driver").resolve(strict=True).name
        except (OSError, RuntimeError):
            continue
        if driver in drivers and _ADDRESS.fullmatch(address):
            found.append(DrmCard(home, node, driver, address))
    return tuple(sorted(found, key=lambda card: card.pci_address))
