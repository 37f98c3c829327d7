"""Apple's GPUs through the system's own programs: the descriptor. Metal's library would need a binding of its own."""

import platform

from kvtop.domain.compute_api import METAL, VULKAN
from kvtop.domain.driver import Driver
from kvtop.domain.sample import Failure
from kvtop.sources.devices.backend import BackendDescriptor, OpenBackend

APPLE = Driver(name="apple", title="apple", maker="Apple", compute_apis=(METAL, VULKAN), brands=("Apple ",))


def _open() -> OpenBackend | Failure | None:
    if platform.system() != "Darwin":
        return None
    from kvtop.sources.devices.apple.reader import AppleBackend  # noqa: PLC0415  only on a Mac

    return AppleBackend()


BACKEND = BackendDescriptor(APPLE, _open)
