"""`--gpu-memory-utilization` leaves nothing for what vLLM does not count, or for the others on the card.

Why: CUDA graphs, NCCL buffers and other processes live in what is left. At start vLLM refuses when less than its
share is free; later allocations fail in the middle of a request.

Source: vLLM 0.32.0 `v1/worker/utils.py` ("Free memory on device … is less than desired GPU memory utilization").

Cost: it does not start, or requests are lost.

Fix: 0.92 (the default) or less; with others on the card what is really free.

Fires on: 0.99 of an H100. Quiet on: 0.92 on a free card.
"""

import math
from collections.abc import Mapping

from kvtop.analysis.lint.amounts import GIB, exact
from kvtop.analysis.lint.fixes.fix import Fix, Way, options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import utilization_of
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.vllm.what_if.smaller_share import smaller_share

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL --gpu-memory-utilization 0.99", gpus=("H100",))
QUIET = Example("vllm serve MODEL --gpu-memory-utilization 0.92", gpus=("H100",))
RISKY = 0.97
LITTLE_BYTES = 2 * GIB
"""Less than that beside vLLM's share: its CUDA graphs and NCCL buffers are not part of it, and take 1 to 2 GiB."""
FREE_WORDS = "stop what holds the card's memory, or take a card that is free"


def check(target: LintTarget) -> Outcome:
    """Needs the option; a card in use makes it an error before the start."""
    if target.value("kv-cache-memory-bytes") is not None:
        return None
    utilization = utilization_of(target)
    evidence = target.said("gpu-memory-utilization") or "default --gpu-memory-utilization 0.92"
    if target.observed is None:
        for card in target.devices:
            if card.total_bytes is None or card.free_bytes is None:
                continue
            wanted = math.ceil(card.total_bytes * utilization)
            if utilization <= 1 and card.free_bytes < wanted and card.free_bytes < card.total_bytes:
                return Found(
                    "error",
                    f"other processes use {card.name}: less is free than vLLM wants, and it refuses to start",
                    evidence=f"{evidence}; {exact(card.free_bytes)} free of {exact(card.total_bytes)}",
                    cost=f"{exact(wanted - card.free_bytes)} too little",
                    fix=(*_share_that_serves(target), FREE_WORDS),
                )
    if utilization < RISKY or utilization > 1:  # more than all of it vLLM refuses: `start-refused`
        return None
    cost, severity = "", "info"
    if target.devices and target.devices[0].total_bytes is not None:
        left = int(target.devices[0].total_bytes * (1 - utilization))
        if left >= LITTLE_BYTES:
            return None
        cost, severity = f"{exact(max(left, 0))} left for CUDA graphs, NCCL and others", "warning"
    return Found(
        severity,
        f"{utilization:.0%} of the card is claimed: little remains for CUDA graphs, NCCL and others, so requests may "
        "fail with out-of-memory errors",
        evidence=evidence,
        cost=cost,
        fix=(options(gpu_memory_utilization="0.92"), "--kv-cache-memory-bytes with the bytes that vLLM logs at start"),
    )


def _share_that_serves(target: LintTarget) -> tuple[Way, ...]:
    """The share that is free, if weights and one request fit it by the plan, with a shorter limit where that helps."""

    def plan_with(changes: Mapping[str, str]) -> MemoryPlan | None:
        answer = target.answer_with(**{name.replace("-", "_"): value for name, value in changes.items()})
        return answer if isinstance(answer, MemoryPlan) else None

    found = smaller_share(target.devices, plan_with)
    return () if found is None else (Fix(tuple(found.items())),)
