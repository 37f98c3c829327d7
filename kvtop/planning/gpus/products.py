"""Memory, compute capability and usual compute API of accelerators by name, from the tables beside this file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from kvtop.domain.compute_api import CUDA, METAL
from kvtop.planning.gpus.nvidia_table import ALIASES as NVIDIA_ALIASES
from kvtop.planning.gpus.nvidia_table import NVIDIA, RESERVE_MIB
from kvtop.planning.gpus.other_table import ALIASES as OTHER_ALIASES
from kvtop.planning.gpus.other_table import APPLE_GIB, OTHERS, metal_mib

_MIB = 1024 * 1024
LOGGED = "the least that its API reported in public logs"
LESS_RESERVE = f"the driver's total less {RESERVE_MIB} MiB, which no log of this card confirms"
DATA_SHEET = "the data sheet, which no log of this card confirms"
METAL_SHARE = "two thirds of the smallest machine's memory, three quarters from 48 GiB: what Metal recommends"


@dataclass(frozen=True, slots=True)
class GpuProduct:
    """`compute_capability` is None where there is no such thing. `compute_api` is the usual one.

    `total_bytes` is what the driver reports, `usable_bytes` what the API reports to a process (None: the same), and
    `source` says where that is from.
    """

    total_bytes: int
    compute_capability: tuple[int, int] | None
    compute_api: str
    usable_bytes: int | None = None
    source: str = ""

    @property
    def api_total_bytes(self) -> int:
        """All that a process can ever see of it."""
        return self.total_bytes if self.usable_bytes is None else self.usable_bytes

    def of_size(self, total_bytes: int) -> "GpuProduct":
        """The same chip with another amount of memory."""
        if self.compute_api == METAL.name:
            return replace(self, total_bytes=total_bytes, usable_bytes=metal_mib(total_bytes // _MIB) * _MIB)
        reserve_bytes = RESERVE_MIB * _MIB if self.compute_api == CUDA.name else 0
        source = LESS_RESERVE if reserve_bytes else DATA_SHEET
        return replace(self, total_bytes=total_bytes, usable_bytes=total_bytes - reserve_bytes, source=source)


def _rows() -> Iterator[tuple[str, GpuProduct]]:
    for line in (NVIDIA + OTHERS).splitlines():
        name, driver_mib, api_mib, kind = line.split(" | ")
        capability: tuple[int, int] | None = None
        api = kind
        if "." in kind:
            major, minor = kind.split(".")
            capability, api = (int(major), int(minor)), CUDA.name
        product = GpuProduct(int(driver_mib) * _MIB, capability, api)
        if api_mib == "~":
            yield name, product.of_size(product.total_bytes)
        else:
            yield name, replace(product, usable_bytes=int(api_mib) * _MIB, source=LOGGED)
    for name, size_gib in APPLE_GIB.items():
        product = GpuProduct(0, None, METAL.name, source=METAL_SHARE)
        yield name, product.of_size(size_gib * 1024 * _MIB)


PRODUCTS: Mapping[str, GpuProduct] = dict(_rows())
"""By everyday name."""
ALIASES: Mapping[str, str] = {**NVIDIA_ALIASES, **OTHER_ALIASES}
"""Other names -> the name in `PRODUCTS`."""
DECORATION = re.compile(
    r"NVIDIA|GEFORCE|TESLA|QUADRO|JETSON|AMD|RADEON|INSTINCT|APPLE|GENERATION|BLACKWELL|MAX Q|WORKSTATION|SERVER"
    r"|EDITION|GPU|PCIE|SXM\d?|INTEL|GRAPHICS|\(R\)|\(TM\)|HBM\d?E?"
)
"""What drivers write around a product's everyday name."""
