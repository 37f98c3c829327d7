"""Memory bandwidth of common accelerators, as data: what their makers' data sheets say, in GB/s (10^9 bytes).

Separate from `products.py`: a name may be here, there, or in both. A name with several memory configurations stands for
the usual one.
"""

import re
from collections.abc import Mapping

from kvtop.planning.gpus.products import DECORATION, PRODUCTS

SOURCE = "the maker's data sheet"
_GB = 10**9

_TABLE = """\
GTX 1050 Ti 112, GTX 1060 192, GTX 1070 256, GTX 1080 320, GTX 1080 Ti 484, GTX 1650 128, GTX 1660 192
GTX 1660 Ti 288, GTX 1660 Super 336, RTX 2060 336, RTX 2060 Super 448, RTX 2070 448, RTX 2070 Super 448, RTX 2080 448
RTX 2080 Super 496, RTX 2080 Ti 616, Titan RTX 672, Titan V 653, RTX 3050 224, RTX 3060 360, RTX 3060 Ti 448
RTX 3070 448, RTX 3070 Ti 608, RTX 3080 760, RTX 3080 Ti 912, RTX 3090 936, RTX 3090 Ti 1008, RTX 4060 272
RTX 4060 Ti 288, RTX 4070 504, RTX 4070 Super 504, RTX 4070 Ti 504, RTX 4070 Ti Super 672, RTX 4080 717
RTX 4080 Super 736, RTX 4090 1008, RTX 5050 320, RTX 5060 448, RTX 5060 Ti 448, RTX 5070 672, RTX 5070 Ti 896
RTX 5080 960, RTX 5090 1792
RTX 3050 Laptop 192, RTX 3060 Laptop 336, RTX 3070 Laptop 448, RTX 3080 Laptop 448, RTX 4050 Laptop 192
RTX 4060 Laptop 256, RTX 4070 Laptop 256, RTX 4080 Laptop 432, RTX 4090 Laptop 576, RTX 5060 Laptop 384
RTX 5070 Laptop 384, RTX 5070 Ti Laptop 672, RTX 5080 Laptop 896, RTX 5090 Laptop 896
RTX A2000 288, RTX A4000 448, RTX A4500 640, RTX A5000 768, RTX A5500 768, RTX A6000 768, RTX 2000 Ada 224
RTX 4000 Ada 360, RTX 4500 Ada 432, RTX 5000 Ada 576, RTX 6000 Ada 960, RTX PRO 4000 672, RTX PRO 4500 896
RTX PRO 5000 1344, RTX PRO 6000 1792
P4 192, P40 346, P100 732, V100 900, T4 300, A2 200, A10 600, A10G 600, A16 200, A30 933, A40 696, A100 2039, A800 2039
L4 300, L20 864, L40 864, L40S 864, H20 4000, H100 3350, H100 NVL 3938, H800 3350, GH200 4000, H200 4800, B200 8000
B300 8000, GB200 8000, GB300 8000, GB10 273, Thor 273, AGX Orin 205, Orin NX 102
RX 6700 XT 384, RX 6800 512, RX 6800 XT 512, RX 6900 XT 512, RX 6950 XT 576, RX 7600 288, RX 7600 XT 288, RX 7700 XT 432
RX 7800 XT 624, RX 7900 GRE 576, RX 7900 XT 800, RX 7900 XTX 960, RX 9060 XT 320, RX 9070 640, RX 9070 XT 640
PRO W7700 576, PRO W7800 576, PRO W7900 864, AI PRO R9700 640, Radeon VII 1024, MI50 1024, MI60 1024, MI100 1229
MI210 1638, MI250 3277, MI300X 5300, MI325X 6000, MI350X 8000, MI355X 8000, Radeon 8060S 256
Arc A380 186, Arc A750 512, Arc A770 560, Arc B570 380, Arc B580 456, Arc Pro B50 224, Arc Pro B60 456
Apple M1 68, Apple M1 Pro 200, Apple M1 Max 400, Apple M1 Ultra 800, Apple M2 100, Apple M2 Pro 200, Apple M2 Max 400
Apple M2 Ultra 800, Apple M3 100, Apple M3 Pro 150, Apple M3 Max 400, Apple M3 Ultra 819, Apple M4 120
Apple M4 Pro 273, Apple M4 Max 546, Apple M5 153
"""


def _rows() -> Mapping[str, int]:
    found = {}
    for entry in _TABLE.replace("\n", ", ").split(", "):
        name, _, amount = entry.rpartition(" ")
        if name:
            found[name] = int(amount) * _GB
    return found


BANDWIDTHS: Mapping[str, int] = _rows()
"""Everyday name -> bytes per second of the card's own memory."""


def _squeezed(text: str) -> str:
    return re.sub(r"[\s_-]", "", text)


_BY_WORD = {_squeezed(name.upper()): amount for name, amount in BANDWIDTHS.items()}
_SIZED = re.compile(r"\s\d+ ?GI?B\b")


def bandwidth_of(product: str) -> int | None:
    """Bytes per second by a product's everyday name or as its driver writes it, or None."""
    plain = DECORATION.sub(" ", product.upper().replace("-", " "))
    for text in (product.upper(), plain, _SIZED.sub("", plain)):
        found = _BY_WORD.get(_squeezed(text))
        if found is not None:
            return found
    return None


def bandwidths_of_size(total_bytes: int | None) -> tuple[int, int] | None:
    """The slowest and the fastest memory of the catalogue's products of about this size, or None."""
    if total_bytes is None:
        return None
    alike = [
        BANDWIDTHS[name]
        for name, product in PRODUCTS.items()
        if name in BANDWIDTHS and abs(product.total_bytes - total_bytes) * 20 <= total_bytes
    ]
    return (min(alike), max(alike)) if alike else None
