"""Cards and chips of other makers, as data: name | MiB that the driver reports | MiB that its API reports | API.

AMD's totals are those that llama.cpp's ROCm build printed in public logs ("VRAM: 24560 MiB"), or PyTorch ("total
capacity of 191.69 GiB"); Intel's those of its Vulkan build ("A770 Graphics (16225 MiB"); ~ where only the data sheet
says it. Chips that share the machine's memory stand with the usual machine.
"""

OTHERS = """\
RX 580 | 8192 | ~ | vulkan
RX Vega | 8176 | 8176 | rocm
Radeon VII | 16368 | 16368 | rocm
Radeon Pro VII | 16368 | 16368 | rocm
RX 5700 XT | 8176 | 8176 | vulkan
RX 6600 | 8176 | ~ | rocm
RX 6600 XT | 8176 | ~ | rocm
RX 6650 XT | 8176 | ~ | rocm
RX 6700 XT | 12272 | 12272 | rocm
RX 6750 XT | 12272 | ~ | rocm
RX 6800 | 16368 | 16368 | rocm
RX 6800 XT | 16368 | ~ | rocm
RX 6900 XT | 16368 | 16368 | rocm
RX 6950 XT | 16368 | ~ | rocm
RX 7600 | 8176 | ~ | rocm
RX 7600 XT | 16368 | ~ | rocm
RX 7700 XT | 12272 | ~ | rocm
RX 7800 XT | 16368 | 16368 | rocm
RX 7900 GRE | 16368 | ~ | rocm
RX 7900 XT | 20464 | 20464 | rocm
RX 7900 XTX | 24560 | 24560 | rocm
RX 9060 XT | 16304 | 16304 | rocm
RX 9060 XT 8GB | 8176 | ~ | rocm
RX 9070 | 16304 | ~ | rocm
RX 9070 XT | 16304 | 16304 | rocm
Pro V620 | 30704 | 30704 | rocm
PRO W6800 | 30704 | ~ | rocm
PRO W7700 | 16368 | ~ | rocm
PRO W7800 | 32752 | ~ | rocm
PRO W7900 | 49136 | ~ | rocm
AI PRO R9700 | 32624 | 32624 | rocm
Radeon 8060S | 63967 | 59392 | rocm
MI25 | 16368 | 16368 | rocm
MI50 | 16368 | 16368 | rocm
MI50 32GB | 32752 | 32752 | rocm
MI60 | 32752 | 32752 | rocm
MI100 | 32752 | ~ | rocm
MI210 | 65520 | ~ | rocm
MI250 | 65520 | ~ | rocm
MI250X | 65520 | ~ | rocm
MI300A | 131056 | ~ | rocm
MI300X | 196592 | 196290 | rocm
MI325X | 262144 | ~ | rocm
MI350X | 294896 | ~ | rocm
MI355X | 294896 | 294891 | rocm
Arc A380 | 6144 | ~ | sycl
Arc A580 | 8192 | ~ | sycl
Arc A750 | 8192 | 8128 | sycl
Arc A770 | 16384 | 16225 | sycl
Arc B570 | 10240 | ~ | sycl
Arc B580 | 12288 | ~ | sycl
Arc Pro B50 | 16384 | ~ | sycl
Arc Pro B60 | 24576 | 24480 | sycl
Arc Pro B70 | 32768 | 32630 | sycl
Arc 140V | 18413 | 18413 | sycl
"""
ALIASES = {
    "Strix Halo": "Radeon 8060S",
    "Ryzen AI Max+ 395": "Radeon 8060S",
    "RX Vega 56": "RX Vega",
    "RX Vega 64": "RX Vega",
}

APPLE_GIB = {
    "Apple M1": 8,
    "Apple M1 Pro": 16,
    "Apple M1 Max": 32,
    "Apple M1 Ultra": 64,
    "Apple M2": 8,
    "Apple M2 Pro": 16,
    "Apple M2 Max": 32,
    "Apple M2 Ultra": 64,
    "Apple M3": 8,
    "Apple M3 Pro": 18,
    "Apple M3 Max": 36,
    "Apple M3 Ultra": 96,
    "Apple M4": 16,
    "Apple M4 Pro": 24,
    "Apple M4 Max": 36,
    "Apple M5": 16,
    "Apple M5 Pro": 24,
    "Apple M5 Max": 36,
}
"""Chip -> GiB of the smallest machine with it; another size stands behind the name ("M4 Max 64GB")."""


def metal_mib(memory_mib: int) -> int:
    """What Metal recommends a process to keep in memory (`recommendedMaxWorkingSetSize`), at the least.

    Two thirds of up to 36 GiB, else three quarters: 10922 MiB on an M1 Pro of 16 GiB, 36863 of 48, 49151 of 64 and
    98303 of 128 in public logs of llama.cpp. macOS 26 allows more: 74 % of 16 and 24 GiB, 81 % of 64.
    """
    return memory_mib * 2 // 3 if memory_mib <= 36 * 1024 else memory_mib * 3 // 4
