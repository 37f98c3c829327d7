"""The likely pool where nobody states its bytes: what `--gpu-memory-utilization` leaves beside everything else.

Source: vLLM 0.32.0, `vllm/v1/worker/gpu_worker.py` (`determine_available_memory`): requested memory less weights, what
else is resident, the activation peak and the CUDA graphs. The last three are measured by vLLM itself when it starts, so
the answer here has their range.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.plan import DevicePlan, Estimate, PlanDevice, PoolEstimate
from kvtop.planning.vllm.pool.pool import Pool, Stage, size_pool
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.layer_specs import RequestTerms


def estimate_pool(
    stages: tuple[Stage, ...],
    request: RequestTerms,
    devices: Sequence[PlanDevice],
    parts: Sequence[DevicePlan],
    utilization: float,
    *,
    fit_length: bool,
    keeps_null_block: bool = True,
) -> PoolEstimate | None:
    """The pool of the tightest rank; None where a card's size or its weights are unknown.

    `devices` and `parts` are in the order of ranks; `parts` have the weights and the range of the rest.
    """
    left: list[Estimate] = []
    for device, part in zip(devices, parts, strict=True):
        if device.total_bytes is None or part.weights_bytes is None:
            return None
        room = math.ceil(device.total_bytes * utilization)
        weights = Estimate.exactly(part.weights_bytes) if part.inexact is None else part.inexact.weights
        taken = part.compute + weights
        left.append(Estimate(room - taken.value_bytes, room - taken.high_bytes, room - taken.low_bytes))
    tightest = Estimate(
        *(
            max(min(pick), 0)
            for pick in zip(*((it.value_bytes, it.low_bytes, it.high_bytes) for it in left), strict=True)
        )
    )

    def at(available_bytes: int) -> tuple[int, float]:
        sized = tuple(replace(stage, available_bytes=available_bytes) for stage in stages)
        try:
            pool: Pool = size_pool(sized, request, fit_length=fit_length, keeps_null_block=keeps_null_block)
        except StartRefusedError:
            return 0, 0.0
        return pool.tokens, pool.max_concurrency

    tokens, concurrency = at(tightest.value_bytes)
    tokens_low, concurrency_low = at(tightest.low_bytes)
    tokens_high, concurrency_high = at(tightest.high_bytes)
    return PoolEstimate(tightest, tokens, tokens_low, tokens_high, concurrency, concurrency_low, concurrency_high)
