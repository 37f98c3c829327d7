"""The likely pool where nobody states its bytes: what `--gpu-memory-utilization` leaves beside everything else.

Source: vLLM 0.32.0, `vllm/v1/worker/gpu_worker.py` (`determine_available_memory`): requested memory less weights, what
else is resident, the activation peak and the CUDA graphs. The last three are measured by vLLM itself when it starts, so
the answer here has their range.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.figure import NOTHING, Figure
from kvtop.domain.memory import Segment
from kvtop.domain.plan import DeviceShare, PlanDevice, PoolEstimate
from kvtop.planning.vllm.pool.pool import Pool, Stage, size_pool
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.layer_specs import RequestTerms

_SOURCE = "the rest of --gpu-memory-utilization after weights and activations"


def estimate_pool(
    stages: tuple[Stage, ...],
    request: RequestTerms,
    devices: Sequence[PlanDevice],
    parts: Sequence[DeviceShare],
    utilization: float,
    *,
    fit_length: bool,
    keeps_null_block: bool = True,
) -> PoolEstimate | None:
    """The pool of the tightest rank; None where a card's size or its weights are unknown.

    `devices` and `parts` are in the order of ranks; `parts` have the weights and the range of the rest.
    """
    left: list[tuple[int, int, int]] = []
    for device, part in zip(devices, parts, strict=True):
        taken = part.memory[Segment.WEIGHTS] + part.memory[Segment.COMPUTE] + _spread(device)
        if device.total_bytes is None or taken.value_bytes is None or taken.most_bytes is None:
            return None
        room = math.ceil(device.total_bytes * utilization)
        left.append((room - taken.value_bytes, room - taken.most_bytes, room - taken.least_bytes))
    likely, least, most = (max(min(pick), 0) for pick in zip(*left, strict=True))

    def at(available_bytes: int) -> tuple[int, float]:
        sized = tuple(replace(stage, available_bytes=available_bytes) for stage in stages)
        try:
            pool: Pool = size_pool(sized, request, fit_length=fit_length, keeps_null_block=keeps_null_block)
        except StartRefusedError:
            return 0, 0.0
        return pool.tokens, pool.max_concurrency

    tokens, concurrency = at(likely)
    tokens_low, concurrency_low = at(least)
    tokens_high, concurrency_high = at(most)
    pool = Figure.estimated(likely, least, most, _SOURCE)
    return PoolEstimate(pool, tokens, tokens_low, tokens_high, concurrency, concurrency_low, concurrency_high)


_TOTAL_SPREAD_BYTES = 150 << 20
"""How far the totals that CUDA reports of one product differ between public logs: ECC, MIG, driver versions."""


def _spread(device: PlanDevice) -> Figure:
    """Nothing where a size was stated: that is what vLLM sees."""
    if not device.product or device.compute_api != "cuda":
        return NOTHING
    return Figure.estimated(0, -_TOTAL_SPREAD_BYTES, _TOTAL_SPREAD_BYTES)
