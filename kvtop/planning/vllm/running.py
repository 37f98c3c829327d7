"""A running vLLM: what it reports of itself wins over its options, and its ranks may be out of sight."""

from dataclasses import replace

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import PlanDevice
from kvtop.domain.server import ServerReading
from kvtop.planning.guards import RANKS_PLANNED
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured
from kvtop.planning.vllm.options.settings import ServeSettings
from kvtop.text import plain_number


def measured(launch: LaunchOptions, reading: ServerReading) -> Measured:
    """vLLM measures its pool when it starts: the blocks that it reports are what the plan must hold to."""
    if not reading.pools:
        return NOTHING_MEASURED
    limit = reading.sequence_limit_tokens if launch.get("max-model-len") is None else None
    return Measured(pool_blocks=reading.pools[0].block_count, sequence_limit_tokens=limit)


def as_measured(settings: ServeSettings, found: Measured) -> ServeSettings:
    """The settings with what a server that runs found out; what they state themselves stays, but for bytes."""
    blocks = found.pool_blocks if settings.blocks_override is None else settings.blocks_override
    pool_bytes = settings.kv_cache_bytes if found.pool_bytes is None else found.pool_bytes
    length = found.sequence_limit_tokens if settings.max_model_len is None else settings.max_model_len
    return replace(settings, blocks_override=blocks, kv_cache_bytes=pool_bytes, max_model_len=length)


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
