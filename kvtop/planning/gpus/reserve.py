"""What a process takes of a card beside what it plans: its own context, and what its API's pool grows by."""

from dataclasses import replace
from enum import Enum, auto

from kvtop.domain.compute_api import api_named
from kvtop.domain.figure import NOTHING, Figure
from kvtop.domain.plan import PlanDevice

_LEAST_BYTES = 2 << 30
"""No card that a server is run on is smaller: such a size is a share or a test, and nothing is known of its driver."""


class FreeSays(Enum):
    """What a figure of free memory leaves out."""

    DRIVER = auto()
    """It is the driver's: the process's own context still comes off."""
    PROCESS = auto()
    """It is what the API tells the process itself, whose context is there already."""
    EITHER = auto()
    """A bare size, which people take from a data sheet as from a log."""


def with_reserve(device: PlanDevice, says: FreeSays) -> PlanDevice:
    """The device with what a process takes there beyond its plan."""
    if device.total_bytes is not None and device.total_bytes < _LEAST_BYTES:
        return device
    api = api_named(device.compute_api)
    context = api.runtime_prior or NOTHING
    if says is FreeSays.EITHER:
        context = Figure.estimated(0, 0, context.most_bytes or 0)
    elif says is FreeSays.PROCESS:
        context = NOTHING
    return replace(device, own_context=context, pool_growth=api.pool_growth)


def as_seen(device: PlanDevice) -> PlanDevice:
    """The device as the process finds it before it loads anything: its likely context is gone from what is free."""
    taken, likely_bytes = device.own_context, device.own_context.value_bytes
    if device.free_bytes is None or not likely_bytes:
        return device
    rest = Figure.estimated(0, taken.least_bytes - likely_bytes, (taken.most_bytes or likely_bytes) - likely_bytes)
    return replace(device, free_bytes=max(device.free_bytes - likely_bytes, 0), own_context=rest)
