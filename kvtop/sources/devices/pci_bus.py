"""Cards on this machine's PCI bus, as sysfs lists them, whether or not a driver speaks for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DISPLAY, _ACCELERATOR = "0x03", "0x12"
"""PCI base classes: display controllers, processing accelerators. Graphics on a processor's die count too."""


@dataclass(frozen=True, slots=True)
class PciCard:
    """`vendor` is its number as sysfs writes it ("0x10de"), `address` in lower case."""

    address: str
    vendor: str


def pci_cards(root: Path = Path("/")) -> tuple[PciCard, ...] | None:
    """Cards that could hold a model, by address; None where there is no list of them (no Linux, a bare VM)."""
    try:
        slots = sorted((root / "sys/bus/pci/devices").iterdir())
    except OSError:
        return None
    return tuple(_cards(slots)) if slots else None


def _cards(slots: list[Path]) -> Iterator[PciCard]:
    for slot in slots:
        try:
            kind, vendor = ((slot / name).read_text(encoding="ascii").strip() for name in ("class", "vendor"))
        except (OSError, UnicodeDecodeError):
            continue
        if kind.startswith((_DISPLAY, _ACCELERATOR)):
            yield PciCard(slot.name.lower(), vendor)
