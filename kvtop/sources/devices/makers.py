"""Who made the accelerators on this machine's buses: whether a driver that is not there is missed."""

from collections.abc import Iterable
from pathlib import Path

from kvtop.domain.device import Device

_MAKER_OF_BACKEND = {"nvml": "NVIDIA"}
_MAKERS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_DISPLAY, _ACCELERATOR = "0x03", "0x12"
"""PCI base classes: display controllers, processing accelerators. Graphics on a processor's die count too."""


def accelerator_makers(root: Path = Path("/")) -> frozenset[str] | None:
    """The makers of PCI cards that could hold a model; None where there is no list of them (no Linux, a bare VM).

    NVIDIA's also where its device files are: under WSL no card is on a bus.
    """
    found = set()
    try:
        slots = list((root / "sys/bus/pci/devices").iterdir())
    except OSError:
        slots = []
    for slot in slots:
        try:
            kind, vendor = ((slot / name).read_text(encoding="ascii").strip() for name in ("class", "vendor"))
        except (OSError, UnicodeDecodeError):
            continue
        if kind.startswith((_DISPLAY, _ACCELERATOR)) and vendor in _MAKERS:
            found.add(_MAKERS[vendor])
    if (root / "dev/nvidiactl").exists() or (root / "dev/dxg").exists():
        found.add("NVIDIA")
    return frozenset(found) if slots or found else None


def unseen_makers(makers: frozenset[str] | None, devices: Iterable[Device]) -> tuple[str, ...]:
    """Those of whose cards no driver shows a device: a server may be on one of them."""
    return tuple(sorted((makers or frozenset()) - {_MAKER_OF_BACKEND.get(device.backend, "") for device in devices}))
