"""A running vLLM: what it reports of itself wins over its options, and its ranks may be out of sight."""

from dataclasses import replace

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.plan import PlanDevice
from kvtop.domain.server import ServerReading
from kvtop.planning.guards import RANKS_PLANNED
from kvtop.text import plain_number


def effective_launch(launch: LaunchOptions, reading: ServerReading) -> LaunchOptions:
    """vLLM measures its pool when it starts: the blocks that it reports are what the plan must hold to."""
    if not reading.pools:
        return launch
    said = {
        "num-gpu-blocks-override": reading.pools[0].block_count,
        "max-model-len": reading.sequence_limit_tokens,
    }
    added = tuple(
        LaunchOption(name, str(value), Origin.ENDPOINT, "/metrics" if name != "max-model-len" else "/v1/models")
        for name, value in said.items()
        if value is not None and (name == "num-gpu-blocks-override" or launch.get(name) is None)
    )
    names = {option.name for option in added}
    return replace(launch, options=(*(it for it in launch.options if it.name not in names), *added))


def devices_for(launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> tuple[PlanDevice, ...]:
    """Ranks on other machines, or hidden from kvtop, are planned on cards like the last one that is seen.

    What was free when it started is not known: it did start, and others may have come since.
    """
    devices = tuple(replace(device, free_bytes=None) for device in devices)
    if not devices:
        return devices
    ranks = 1
    for name in ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size"):
        value = launch.value(name)
        number = plain_number(value)
        ranks *= 1 if number is None else number
    missing = range(len(devices), min(ranks, RANKS_PLANNED))
    return (*devices, *(replace(devices[-1], name=f"gpu{index}") for index in missing))
