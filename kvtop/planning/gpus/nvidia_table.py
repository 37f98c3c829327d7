"""NVIDIA's cards, as data: name | MiB that the driver reports | MiB that CUDA reports | compute capability.

CUDA's total is the least of what llama.cpp ("VRAM: 24123 MiB", b8586 to b9900) or PyTorch ("total capacity of 139.72
GiB") printed in public logs of Linux machines, 2025 and 2026; ~ where no log was found. It is what the driver reports
less its reserve; on Windows CUDA reports the driver's total.
"""

NVIDIA = """\
GTX 1050 Ti | 4096 | 4038 | 6.1
GTX 1060 | 6144 | 6063 | 6.1
GTX 1070 | 8192 | 8110 | 6.1
GTX 1070 Ti | 8192 | 8110 | 6.1
GTX 1080 | 8192 | 8098 | 6.1
GTX 1080 Ti | 11264 | 11172 | 6.1
GTX 1650 | 4096 | 3712 | 7.5
GTX 1650 Ti | 4096 | 3706 | 7.5
GTX 1660 | 6144 | ~ | 7.5
GTX 1660 Super | 6144 | ~ | 7.5
GTX 1660 Ti | 6144 | 5747 | 7.5
RTX 2060 | 6144 | ~ | 7.5
RTX 2060 12GB | 12288 | 11833 | 7.5
RTX 2060 Super | 8192 | ~ | 7.5
RTX 2070 | 8192 | ~ | 7.5
RTX 2070 Super | 8192 | ~ | 7.5
RTX 2080 | 8192 | ~ | 7.5
RTX 2080 Super | 8192 | ~ | 7.5
RTX 2080 Ti | 11264 | ~ | 7.5
Titan V | 12288 | ~ | 7.0
Titan RTX | 24576 | ~ | 7.5
RTX 3050 | 8192 | ~ | 8.6
RTX 3050 6GB | 6144 | 5803 | 8.6
RTX 3050 Laptop | 4096 | ~ | 8.6
RTX 3060 | 12288 | 11906 | 8.6
RTX 3060 Laptop | 6144 | ~ | 8.6
RTX 3060 Ti | 8192 | ~ | 8.6
RTX 3070 | 8192 | 7819 | 8.6
RTX 3070 Laptop | 8192 | ~ | 8.6
RTX 3070 Ti | 8192 | 7840 | 8.6
RTX 3070 Ti Laptop | 8192 | 7850 | 8.6
RTX 3080 | 10240 | ~ | 8.6
RTX 3080 12GB | 12288 | ~ | 8.6
RTX 3080 Laptop | 8192 | ~ | 8.6
RTX 3080 Ti | 12288 | ~ | 8.6
RTX 3080 Ti Laptop | 16384 | ~ | 8.6
RTX 3090 | 24576 | 24123 | 8.6
RTX 3090 Ti | 24564 | 24142 | 8.6
RTX 4050 Laptop | 6141 | ~ | 8.9
RTX 4060 | 8188 | ~ | 8.9
RTX 4060 Laptop | 8188 | 7815 | 8.9
RTX 4060 Ti | 16380 | 15944 | 8.9
RTX 4060 Ti 8GB | 8188 | ~ | 8.9
RTX 4070 | 12282 | 11866 | 8.9
RTX 4070 Laptop | 8188 | 7805 | 8.9
RTX 4070 Super | 12282 | ~ | 8.9
RTX 4070 Ti | 12282 | ~ | 8.9
RTX 4070 Ti Super | 16376 | ~ | 8.9
RTX 4080 | 16376 | ~ | 8.9
RTX 4080 Laptop | 12282 | ~ | 8.9
RTX 4080 Super | 16376 | 15937 | 8.9
RTX 4090 | 24564 | 24077 | 8.9
RTX 4090 D | 24564 | ~ | 8.9
RTX 4090 Laptop | 16376 | ~ | 8.9
RTX 5050 | 8151 | ~ | 12.0
RTX 5050 Laptop | 8151 | ~ | 12.0
RTX 5060 | 8151 | ~ | 12.0
RTX 5060 Laptop | 8151 | ~ | 12.0
RTX 5060 Ti | 16311 | 15825 | 12.0
RTX 5060 Ti 8GB | 8151 | ~ | 12.0
RTX 5070 | 12227 | ~ | 12.0
RTX 5070 Laptop | 8151 | ~ | 12.0
RTX 5070 Ti | 16303 | 15808 | 12.0
RTX 5070 Ti Laptop | 12227 | ~ | 12.0
RTX 5080 | 16303 | 15880 | 12.0
RTX 5080 Laptop | 16303 | ~ | 12.0
RTX 5090 | 32607 | 32109 | 12.0
RTX 5090 D | 32607 | ~ | 12.0
RTX 5090 Laptop | 24463 | ~ | 12.0
Quadro RTX 4000 | 8192 | ~ | 7.5
Quadro RTX 5000 | 16384 | 15927 | 7.5
Quadro RTX 6000 | 24576 | ~ | 7.5
Quadro RTX 8000 | 49152 | ~ | 7.5
RTX A2000 | 6138 | ~ | 8.6
RTX A2000 12GB | 12282 | ~ | 8.6
RTX A4000 | 16376 | ~ | 8.6
RTX A4500 | 20470 | ~ | 8.6
RTX A5000 | 24564 | ~ | 8.6
RTX A5500 | 24564 | ~ | 8.6
RTX A6000 | 49140 | 48538 | 8.6
RTX 2000 Ada | 16380 | ~ | 8.9
RTX 3500 Ada Laptop | 12282 | ~ | 8.9
RTX 4000 Ada | 20475 | ~ | 8.9
RTX 4500 Ada | 24570 | ~ | 8.9
RTX 5000 Ada | 32760 | ~ | 8.9
RTX 6000 Ada | 49140 | 48538 | 8.9
RTX PRO 2000 | 16311 | ~ | 12.0
RTX PRO 4000 | 24467 | ~ | 12.0
RTX PRO 4500 | 32623 | ~ | 12.0
RTX PRO 5000 | 48935 | ~ | 12.0
RTX PRO 6000 | 97887 | 97249 | 12.0
P4 | 7611 | ~ | 6.1
P40 | 24576 | ~ | 6.1
P100 | 16384 | ~ | 6.0
V100 | 32768 | 32494 | 7.0
V100 16GB | 16384 | 16160 | 7.0
T4 | 15360 | 14912 | 7.5
A2 | 15356 | ~ | 8.6
A10 | 23028 | 22517 | 8.6
A10G | 23028 | 22507 | 8.6
A16 | 15356 | ~ | 8.6
A30 | 24576 | ~ | 8.0
A40 | 46068 | 45404 | 8.6
A100 | 81920 | 81151 | 8.0
A100 40GB | 40960 | 40336 | 8.0
A800 | 81920 | ~ | 8.0
L4 | 23034 | 22558 | 8.9
L20 | 46068 | ~ | 8.9
L40 | 46068 | ~ | 8.9
L40S | 46068 | 45373 | 8.9
H20 | 97871 | ~ | 9.0
H100 | 81559 | 81008 | 9.0
H100 NVL | 95830 | ~ | 9.0
H800 | 81559 | ~ | 9.0
GH200 | 97871 | ~ | 9.0
H200 | 143771 | 143073 | 9.0
H200 NVL | 143771 | ~ | 9.0
B200 | 183359 | 182630 | 10.0
GB200 | 189471 | ~ | 10.0
B300 | 275040 | ~ | 10.3
GB300 | 284208 | ~ | 10.3
GB10 | 124610 | 122502 | 12.1
Thor | 125748 | 125748 | 11.0
AGX Orin | 62841 | 62827 | 8.7
Orin NX | 15656 | ~ | 8.7
Orin Nano | 7620 | 7607 | 8.7
"""
ALIASES = {
    "DGX Spark": "GB10",
    "Jetson Thor": "Thor",
    "Jetson AGX Thor": "Thor",
    "AGX Thor": "Thor",
    "Jetson AGX Orin": "AGX Orin",
    "Jetson Orin NX": "Orin NX",
    "Jetson Orin Nano": "Orin Nano",
}
RESERVE_MIB = 400
"""What CUDA leaves out of the driver's total where no log says it: 300 to 500 MiB in those of cards up to 24 GiB."""
