"""What an AMD card is called, and whether it is a part of the processor.

The kernel writes a product name for server cards only. For the others libdrm keeps the list that every tool of the
distribution reads (amdgpu.ids: device, revision, name); a few of it are here for machines without libdrm.
"""

from functools import lru_cache
from pathlib import Path

from kvtop.sources.devices.drm.cards import DrmCard

_LISTS = ("usr/share/libdrm/amdgpu.ids", "opt/amdgpu/share/libdrm/amdgpu.ids", "usr/local/share/libdrm/amdgpu.ids")
_LIST_LIMIT_BYTES = 1024 * 1024
_KNOWN = {
    ("1586", "c1"): "AMD Radeon 8060S Graphics",
    ("1586", "c2"): "AMD Radeon 8050S Graphics",
    ("150e", "c1"): "AMD Radeon 890M Graphics",
    ("744c", "c8"): "AMD Radeon RX 7900 XTX",
    ("744c", "cc"): "AMD Radeon RX 7900 XT",
    ("7448", "00"): "AMD Radeon Pro W7900",
    ("7550", "c0"): "AMD Radeon RX 9070 XT",
    ("7551", "c0"): "AMD Radeon AI PRO R9700",
    ("73bf", "c0"): "AMD Radeon RX 6900 XT",
    ("66af", "c1"): "AMD Radeon VII",
}
"""libdrm, data/amdgpu.ids."""
_ON_PROCESSOR = frozenset(
    {
        *("1586", "150e", "1114", "1900", "1901", "15bf", "15c8", "164e", "13c0", "1506", "163f", "1435"),
        *("1681", "1636", "1638", "164c", "15e7", "15d8", "15dd"),
    }
)
"""Device ids of graphics on a processor's die, for kernels that do not tell it: Raven to Strix Halo (pci.ids)."""
_METRICS_OF_A_CARD = 1
_HEADER_BYTES = 4


def name_of(card: DrmCard, root: Path) -> str:
    """As its maker calls it; its PCI device id where nothing on this machine knows."""
    device, revision = _hex(card.text("device")), _hex(card.text("revision"))
    product = card.text("product_name")
    if product:
        return product if product.upper().startswith("AMD") else f"AMD {product}"
    listed = _listed(root).get((device, revision)) or _KNOWN.get((device, revision))
    if listed is not None:
        return listed
    return f"AMD Radeon graphics 1002:{device}" if device else "unknown name"


def is_on_processor(card: DrmCard) -> bool:
    """Whether the card is graphics on a processor's die, whose memory is the machine's.

    The revision of the table `gpu_metrics` tells: 1 for cards, 2 and 3 for processors (kgd_pp_interface.h).
    """
    try:
        with (card.home / "gpu_metrics").open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        header = b""
    if len(header) == _HEADER_BYTES and header[2]:
        return header[2] > _METRICS_OF_A_CARD
    return _hex(card.text("device")) in _ON_PROCESSOR


@lru_cache(maxsize=8)
def _listed(root: Path) -> dict[tuple[str, str], str]:
    for name in _LISTS:
        try:
            with (root / name).open(encoding="utf-8", errors="replace") as file:
                lines = file.read(_LIST_LIMIT_BYTES).splitlines()
        except OSError:
            continue
        rows = (line.split(",", 2) for line in lines if not line.startswith("#"))
        return {(row[0].strip().lower(), row[1].strip().lower()): row[2].strip() for row in rows if len(row) == 3}
    return {}


def _hex(text: str) -> str:
    """ "0x744c" as the lists write it; "" for what is no number."""
    digits = text.lower().removeprefix("0x")
    return f"{int(digits, 16):02x}" if 0 < len(digits) <= 8 and all(it in "0123456789abcdef" for it in digits) else ""
