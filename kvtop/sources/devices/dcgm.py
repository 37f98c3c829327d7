"""Cards that NVIDIA's DCGM exporter reports of a cluster: what the figures of one mean. The fleet reads them."""

from kvtop.domain.compute_api import CUDA
from kvtop.domain.driver import Driver

DCGM = Driver("dcgm", "DCGM", "NVIDIA", compute_apis=(CUDA,), lists_processes=False, brands=("NVIDIA ",))
