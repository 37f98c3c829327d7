"""Intel cards and graphics on Intel processors through the kernel's xe and i915: the descriptors.

A card is driven by one of the two, and one machine may have both. What is read is the same but for the names of regions
and one system call.
"""

from functools import partial

from kvtop.domain.compute_api import SYCL, VULKAN
from kvtop.domain.driver import Driver
from kvtop.domain.sample import Failure
from kvtop.sources.devices.backend import BackendDescriptor, OpenBackend

_BRANDS = ("Intel ", "Intel(R) ")
XE = Driver(name="xe", title="xe", maker="Intel", compute_apis=(SYCL, VULKAN), brands=_BRANDS, tool="xpu-smi")
I915 = Driver(name="i915", title="i915", maker="Intel", compute_apis=(SYCL, VULKAN), brands=_BRANDS, tool="xpu-smi")


def _open(driver: Driver) -> OpenBackend | Failure | None:
    from kvtop.sources.devices.intel.reader import open_backend  # noqa: PLC0415  only where it is asked

    return open_backend(driver)


XE_BACKEND = BackendDescriptor(XE, partial(_open, XE), pci_vendors=("0x8086",))
I915_BACKEND = BackendDescriptor(I915, partial(_open, I915), pci_vendors=("0x8086",))
