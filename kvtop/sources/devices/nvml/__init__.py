"""NVIDIA cards through NVML: the descriptor. The driver's library and its binding are loaded when it is opened."""

from kvtop.domain.compute_api import CUDA, VULKAN
from kvtop.domain.driver import Driver
from kvtop.domain.sample import Failure
from kvtop.sources.devices.backend import BackendDescriptor, OpenBackend

NVML = Driver(
    name="nvml",
    title="NVML",
    maker="NVIDIA",
    compute_apis=(CUDA, VULKAN),
    brands=("NVIDIA GeForce ", "NVIDIA "),
    tool="nvidia-smi",
    absences=("no NVIDIA driver library", "the NVIDIA driver is not loaded"),
)


def _open() -> OpenBackend | Failure | None:
    from kvtop.sources.devices.nvml.driver import open_backend  # noqa: PLC0415  the binding, only where it is asked

    return open_backend()


# Device files too: under WSL no card is on a bus.
BACKEND = BackendDescriptor(NVML, _open, pci_vendors=("0x10de",), device_files=("dev/nvidiactl", "dev/dxg"))
