"""Apple's GPUs: what the figures of one mean. Nothing reads them yet; the demo and recordings show them."""

from kvtop.domain.compute_api import METAL, VULKAN
from kvtop.domain.driver import Driver

APPLE = Driver(name="apple", title="apple", maker="Apple", compute_apis=(METAL, VULKAN), brands=("Apple ",))
