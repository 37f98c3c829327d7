"""The share of a card in use with which vLLM would start and serve, found by planning it."""

import math
from collections.abc import Callable, Mapping, Sequence

from kvtop.domain.plan import MemoryPlan, PlanDevice

Changes = Mapping[str, str]
PlanWith = Callable[[Changes], MemoryPlan | None]
"""The plan of a command with options replaced; None where vLLM would refuse or no rule is known."""
UTILIZATION = "gpu-memory-utilization"
LENGTH = "max-model-len"
LEAST_TOKENS = 2048
"""A lower limit is of no use."""
_LENGTH_STEP = 256


def smaller_share(devices: Sequence[PlanDevice], plan_with: PlanWith) -> Changes | None:
    """The share that is free on the scarcest card, with a shorter limit where it needs one; None: no share serves."""
    shares = [
        device.free_bytes / device.total_bytes
        for device in devices
        if device.free_bytes is not None and device.total_bytes
    ]
    if not shares:
        return None
    share = f"{math.floor(min(shares) * 100) / 100:g}"
    return serving({UTILIZATION: share}, plan_with) if float(share) > 0 else None


def serving(changes: Changes, plan_with: PlanWith) -> Changes | None:
    """These changes if one request of full length surely fits with them, else with the length that does."""
    if _surely_holds(plan_with(changes)):
        return changes
    automatic = plan_with({**changes, LENGTH: "auto"})
    likely = None if automatic is None or automatic.vllm is None else automatic.vllm.pool_estimate
    tokens = 0 if likely is None else likely.tokens_low // _LENGTH_STEP * _LENGTH_STEP
    if tokens < LEAST_TOKENS:
        return None
    shorter = {**changes, LENGTH: str(tokens)}
    return shorter if _surely_holds(plan_with(shorter)) else None


def _surely_holds(plan: MemoryPlan | None) -> bool:
    pool = None if plan is None else plan.vllm
    if pool is None:
        return False
    if pool.max_concurrency is not None:
        return pool.max_concurrency >= 1
    return pool.pool_estimate is not None and pool.pool_estimate.concurrency_low >= 1
