"""Memory, compute capability and usual compute API of common accelerators, as data.

Totals of NVIDIA cards are what their driver reports where that is known, else the size on the data sheet.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GpuProduct:
    """`compute_capability` is None where there is no such thing. `compute_api` is the usual one."""

    total_bytes: int
    compute_capability: tuple[int, int] | None
    compute_api: str


_TABLE = """\
GTX 1080 Ti | 11264 | 6.1
RTX 2080 Ti | 11264 | 7.5
Titan RTX | 24576 | 7.5
RTX 3060 | 12288 | 8.6
RTX 3070 | 8192 | 8.6
RTX 3080 | 10240 | 8.6
RTX 3080 Ti | 12288 | 8.6
RTX 3090 | 24576 | 8.6
RTX 3090 Ti | 24564 | 8.6
RTX 4060 | 8188 | 8.9
RTX 4060 Ti | 16380 | 8.9
RTX 4070 | 12282 | 8.9
RTX 4070 Ti | 12282 | 8.9
RTX 4070 Ti Super | 16376 | 8.9
RTX 4080 | 16376 | 8.9
RTX 4080 Super | 16376 | 8.9
RTX 4090 | 24564 | 8.9
RTX 5060 Ti | 16311 | 12.0
RTX 5070 | 12227 | 12.0
RTX 5070 Ti | 16303 | 12.0
RTX 5080 | 16303 | 12.0
RTX 5090 | 32607 | 12.0
RTX A4000 | 16376 | 8.6
RTX A5000 | 24564 | 8.6
RTX A6000 | 49140 | 8.6
RTX 4000 Ada | 20475 | 8.9
RTX 5000 Ada | 32760 | 8.9
RTX 6000 Ada | 49140 | 8.9
RTX PRO 6000 | 97887 | 12.0
P40 | 24576 | 6.1
P100 | 16384 | 6.0
V100 | 32768 | 7.0
T4 | 15360 | 7.5
A2 | 15356 | 8.6
A10 | 23028 | 8.6
A10G | 23028 | 8.6
A30 | 24576 | 8.0
A40 | 46068 | 8.6
A100 | 81920 | 8.0
A800 | 81920 | 8.0
L4 | 23034 | 8.9
L20 | 46068 | 8.9
L40 | 46068 | 8.9
L40S | 46068 | 8.9
H20 | 97871 | 9.0
H100 | 81559 | 9.0
H100 NVL | 95830 | 9.0
H800 | 81559 | 9.0
GH200 | 97871 | 9.0
H200 | 143771 | 9.0
B200 | 183359 | 10.0
RX 6800 XT | 16368 | rocm
RX 6900 XT | 16368 | rocm
RX 7600 XT | 16368 | rocm
RX 7700 XT | 12272 | rocm
RX 7800 XT | 16368 | rocm
RX 7900 GRE | 16368 | rocm
RX 7900 XT | 20464 | rocm
RX 7900 XTX | 24560 | rocm
RX 9070 | 16304 | rocm
RX 9070 XT | 16304 | rocm
PRO W7900 | 49136 | rocm
MI210 | 65520 | rocm
MI300X | 196592 | rocm
MI325X | 262144 | rocm
AI PRO R9700 | 32624 | rocm
Arc A750 | 8192 | sycl
Arc A770 | 16384 | sycl
Arc B570 | 10240 | sycl
Arc B580 | 12288 | sycl
Arc Pro B60 | 24576 | sycl
"""


def _product(size_mib: str, kind: str) -> GpuProduct:
    if "." not in kind:
        return GpuProduct(int(size_mib) * _MIB, None, kind)
    major, minor = kind.split(".")
    return GpuProduct(int(size_mib) * _MIB, (int(major), int(minor)), "cuda")


PRODUCTS: Mapping[str, GpuProduct] = {
    name: _product(size_mib, kind) for name, size_mib, kind in (line.split(" | ") for line in _TABLE.splitlines())
}
"""By everyday name."""
DECORATION = re.compile(
    r"NVIDIA|GEFORCE|TESLA|QUADRO|AMD|RADEON|INSTINCT|GENERATION|BLACKWELL|WORKSTATION|SERVER|EDITION|GPU|PCIE|SXM\d?|INTEL|GRAPHICS|\(R\)|\(TM\)"
    r"|HBM\d?E?"
)
"""What drivers write around a product's everyday name."""
