"""Who made the accelerators on this machine's buses: whether a driver that is not there is missed."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from kvtop.domain.device import Device
from kvtop.domain.sample import Failure
from kvtop.sources.devices import BACKENDS
from kvtop.sources.devices.pci_bus import pci_cards

_MAKERS = {vendor: it.driver.maker for it in BACKENDS for vendor in it.pci_vendors}


def accelerator_makers(root: Path = Path("/")) -> frozenset[str] | None:
    """The makers of PCI cards that could hold a model; None where there is no list of them (no Linux, a bare VM).

    A maker's also where a device file of its driver is: not every machine shows its card on a bus.
    """
    cards = pci_cards(root)
    found = {_MAKERS[card.vendor] for card in cards or () if card.vendor in _MAKERS}
    for backend in BACKENDS:
        if any((root / name).exists() for name in backend.device_files):
            found.add(backend.driver.maker)
    return frozenset(found) if cards is not None or found else None


def without_missing_makers(
    failures: Sequence[Failure], devices: Sequence[Device], makers: frozenset[str] | None
) -> tuple[Failure, ...]:
    """Failures but those that only say that a maker's card is not here, where another maker's is.

    Without any card they stay: a person may ask why none is seen.
    """
    if makers is None or all(device.is_host for device in devices):
        return tuple(failures)
    absent = {it.name: it.driver.absences for it in BACKENDS if it.driver.maker and it.driver.maker not in makers}
    return tuple(it for it in failures if not it.message.startswith(absent.get(it.source, ())))


def unseen_makers(makers: frozenset[str] | None, devices: Iterable[Device]) -> tuple[str, ...]:
    """Those of whose cards no driver shows a device: a server may be on one of them."""
    return tuple(sorted((makers or frozenset()) - {device.driver.maker for device in devices}))
