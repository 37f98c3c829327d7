"""What a DRM driver tells of one open file: `/proc/PID/fdinfo/FD` of a node under /dev/dri.

Source: Documentation/gpu/drm-usage-stats.rst (kernel 6.14), and amdgpu_fdinfo.c of 5.14 to 5.18, which had words of its
own. Sizes have no unit (bytes), KiB or MiB; amdgpu's old "kB" is 1024 bytes. One client may be open under many
descriptors and in many processes: `identity` says which lines are one client's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.sources.devices.drm.text_files import whole

_UNITS = {"": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3, "kb": 1024}
_OLD_SIZES = {"vram mem": "vram", "gtt mem": "gtt", "cpu mem": "cpu"}
_OLD_DRIVER = "amdgpu"
"""The only one that told sizes before the keys were agreed on."""


@dataclass(frozen=True, slots=True)
class DrmClient:
    """`regions` are resident bytes by region ("vram", "gtt", "vram0", "system" …). `pci_address` is lower case.

    `identity` is equal for all descriptors of one client on one card, None where the driver does not say.
    """

    driver: str
    pci_address: str
    identity: str | None
    regions: Mapping[str, int]


def parse_fdinfo(text: str) -> DrmClient | None:
    """The client; None where the text is not of a DRM driver or names no card."""
    words: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            words.setdefault(key.strip(), value.strip())
    address = (words.get("drm-pdev") or words.get("pdev") or "").lower()
    is_old = "drm-driver" not in words and any(key in words for key in _OLD_SIZES)
    driver = words.get("drm-driver") or (_OLD_DRIVER if is_old else "")
    if not driver or not address:
        return None
    return DrmClient(driver, address, _identity(words), _regions(words))


def _identity(words: Mapping[str, str]) -> str | None:
    """By client number; before 5.19 by the number of the process's address space on the card, where it has one."""
    client = whole(words.get("drm-client-id", ""))
    if client is not None:
        return f"client {client}"
    space = whole(words.get("pasid", ""))
    return f"address space {space}" if space else None


def _regions(words: Mapping[str, str]) -> dict[str, int]:
    """Resident bytes where the driver tells them apart from what is only reserved; else what it counts as memory."""
    found: dict[str, int] = {}
    for key, value in words.items():
        if key.startswith("drm-memory-"):
            region = key.removeprefix("drm-memory-")
        elif key in _OLD_SIZES:
            region = _OLD_SIZES[key]
        else:
            continue
        size = _size(value)
        if size is not None:
            found[region] = size
    for key, value in words.items():
        size = _size(value) if key.startswith("drm-resident-") else None
        if size is not None:
            found[key.removeprefix("drm-resident-")] = size
    return found


def _size(value: str) -> int | None:
    number, _, unit = value.partition(" ")
    factor = _UNITS.get(unit.strip().lower())
    count = whole(number)
    return None if factor is None or count is None else count * factor
