"""What an Intel card is called: by the machine's list of PCI devices, else by a few device ids written down here."""

import re
from functools import lru_cache
from pathlib import Path

from kvtop.sources.devices.drm.cards import DrmCard

_LISTS = ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids", "usr/share/pci.ids")
_LIST_LIMIT_BYTES = 4 * 1024 * 1024
_VENDOR = "8086"
_BRAND = re.compile(r"\[(.+)\]")
_KNOWN = {
    "e20b": "Intel Arc B580",
    "e20c": "Intel Arc B570",
    "e211": "Intel Arc Pro B60",
    "56a0": "Intel Arc A770",
    "56a1": "Intel Arc A750",
    "56a5": "Intel Arc A380",
    "64a0": "Intel Arc 140V",
    "7d55": "Intel Arc Graphics",
    "46a6": "Intel Iris Xe Graphics",
}
"""pci.ids, section 8086."""


def name_of(card: DrmCard, root: Path) -> str:
    """As its maker calls it: what a list puts in brackets behind the name of the chip."""
    device = card.text("device").lower().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-f]{1,8}", device):
        return "unknown name"
    listed = _listed(root).get(device)
    if device in _KNOWN or listed is None:
        return _KNOWN.get(device, f"Intel graphics {_VENDOR}:{device}")
    brand = _BRAND.search(listed)
    return f"Intel {brand[1] if brand else listed}"


@lru_cache(maxsize=8)
def _listed(root: Path) -> dict[str, str]:
    for name in _LISTS:
        try:
            with (root / name).open(encoding="utf-8", errors="replace") as file:
                text = file.read(_LIST_LIMIT_BYTES)
        except OSError:
            continue
        _, _, section = text.partition(f"\n{_VENDOR}  ")
        section = section.split("\n", 1)[-1]
        found: dict[str, str] = {}
        for line in section.splitlines():
            if not line.startswith(("\t", "#")):
                break  # the next vendor
            if re.match(r"\t[0-9a-f]{4}  ", line):
                found[line[1:5]] = line[7:].strip()
        return found
    return {}
