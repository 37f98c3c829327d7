"""AMD cards through the kernel's amdgpu driver: the descriptor. Everything is read from sysfs, procfs and KFD as text.

No library of AMD is loaded: each needs ROCm, and all of them read these files.
"""

from kvtop.domain.compute_api import ROCM, VULKAN
from kvtop.domain.driver import Driver
from kvtop.domain.sample import Failure
from kvtop.sources.devices.backend import BackendDescriptor, OpenBackend

AMDGPU = Driver(
    name="amdgpu", title="amdgpu", maker="AMD", compute_apis=(ROCM, VULKAN), brands=("AMD Radeon ",), tool="rocm-smi"
)


def _open() -> OpenBackend | Failure | None:
    from kvtop.sources.devices.amdgpu.reader import open_backend  # noqa: PLC0415  only where it is asked

    return open_backend()


BACKEND = BackendDescriptor(AMDGPU, _open, pci_vendors=("0x1002",))
