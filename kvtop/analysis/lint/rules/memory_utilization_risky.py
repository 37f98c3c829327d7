"""`--gpu-memory-utilization` leaves nothing for what vLLM does not count, or for the others on the card.

Why: CUDA graphs, NCCL buffers and other processes live in what is left. At start vLLM refuses when less than its
share is free; later allocations fail in the middle of a request.

Source: vLLM 0.32.0 `v1/worker/utils.py` ("Free memory on device … is less than desired GPU memory utilization").

Cost: it does not start, or requests are lost.

Fix: 0.92 (the default) or less; with others on the card what is really free.

Fires on: 0.98. Quiet on: 0.92 on a free card.
"""

import math

from kvtop.analysis.lint.amounts import exact
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import Subject
from kvtop.analysis.lint.vllm_pool import utilization_of

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL --gpu-memory-utilization 0.98", gpus=("H100",))
QUIET = Example("vllm serve MODEL --gpu-memory-utilization 0.92", gpus=("H100",))
RISKY = 0.97


def check(subject: Subject) -> Outcome:
    """Needs the option; a card in use makes it an error before the start."""
    if subject.value("kv-cache-memory-bytes") is not None:
        return None
    utilization = utilization_of(subject)
    evidence = subject.said("gpu-memory-utilization") or "default --gpu-memory-utilization 0.92"
    if subject.observed is None:
        for card in subject.devices:
            if card.total_bytes is None or card.free_bytes is None:
                continue
            wanted = math.ceil(card.total_bytes * utilization)
            if utilization <= 1 and card.free_bytes < wanted and card.free_bytes < card.total_bytes:
                return Found(
                    "error",
                    f"other processes use {card.name}: less is free than vLLM wants, and it refuses to start",
                    evidence=f"{evidence}; {exact(card.free_bytes)} free of {exact(card.total_bytes)}",
                    cost=f"{exact(wanted - card.free_bytes)} too little",
                    fix=f"--gpu-memory-utilization {math.floor(card.free_bytes / card.total_bytes * 100) / 100:g}",
                )
    if utilization < RISKY or utilization > 1:  # more than all of it vLLM refuses: `start-refused`
        return None
    cost = ""
    if subject.devices and subject.devices[0].total_bytes is not None:
        left = int(subject.devices[0].total_bytes * (1 - utilization))
        cost = f"{exact(max(left, 0))} left for CUDA graphs, NCCL and others"
    return Found(
        "warning",
        f"{utilization:.0%} of the card leaves nearly nothing for CUDA graphs, NCCL and other processes: requests may "
        "fail with out-of-memory errors",
        evidence=evidence,
        cost=cost,
        fix="--gpu-memory-utilization 0.92, or --kv-cache-memory-bytes with the bytes that vLLM logs at start",
    )
