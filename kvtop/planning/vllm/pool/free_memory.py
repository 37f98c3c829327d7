"""The check that vLLM makes before it loads anything: as much free as its share of the card.

Source: vLLM 0.32.0, `vllm/v1/worker/utils.py` (`request_memory`), called by `gpu_worker.py` (`init_device`) whatever
the size of the pool was set by. It needs neither the model nor its weights.
"""

import math
from collections.abc import Sequence

from kvtop.domain.plan import PlanDevice

WORDS = "is less than desired GPU memory utilization"
_GIB = 1 << 30


def requested_bytes(device: PlanDevice, utilization: float) -> int | None:
    """What vLLM takes of a card, in all; None where its size is unknown."""
    return None if device.total_bytes is None else math.ceil(device.total_bytes * utilization)


def memory_refusal(devices: Sequence[PlanDevice], utilization: float) -> str:
    """vLLM's words where a rank's card has less free than it asks for; "" where none has, or none is known."""
    for rank, device in enumerate(devices):
        wanted_bytes = requested_bytes(device, utilization)
        if wanted_bytes is None or device.total_bytes is None or device.free_bytes is None:
            continue
        if device.free_bytes < wanted_bytes:
            return (
                f"Free memory on device cuda:{rank} ({_gib(device.free_bytes)}/{_gib(device.total_bytes)} GiB) on "
                f"startup {WORDS} ({utilization}, {_gib(wanted_bytes)} GiB). Decrease GPU memory utilization or reduce "
                "GPU memory used by other processes."
            )
    return ""


def _gib(size_bytes: int) -> str:
    """As vLLM writes it (`format_gib`)."""
    return f"{round(size_bytes / _GIB, 2)}"
