"""`--gpu-memory-utilization` leaves much of the card unused.

Why: vLLM takes that share of the card (0.92 by default) and no more; what weights and activations leave of it is the
pool. A low value is right where another process shares the card, or where an embedding model needs no pool; it does
harm where the pool is short: then it is a warning, else an info.

Source: vLLM 0.32.0 `v1/worker/utils.py` (request_memory).

Cost: computed: the share up to the default.

Fix: leave the option out, or state the pool with `--kv-cache-memory-bytes`.

Fires on: 0.5 on a card of its own. Quiet on: the default, and a card that others use.
"""

from kvtop.analysis.lint.amounts import GIB, exact
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import DEFAULT_UTILIZATION, concurrency_of, serves_text, utilization_of

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL --gpu-memory-utilization 0.5 --max-model-len 8192", gpus=("H100",))
QUIET = Example("vllm serve MODEL --max-model-len 8192", gpus=("H100",))
LOW = 0.85
SHARED = 0.95
LITTLE_BYTES = 4 * GIB
"""What a card may keep free: CUDA graphs and other processes need it."""
FEW_REQUESTS = 2.0
"""Of the longest permitted length, all that the pool holds: then the missing share is missed."""


def check(target: LintTarget) -> Outcome:
    """Needs only the option; the card gives the bytes, and shows whether it is shared."""
    utilization = utilization_of(target)
    if utilization >= LOW or target.value("kv-cache-memory-bytes") is not None or not serves_text(target):
        return None
    cost = ""
    if target.devices:
        card = target.devices[0]
        if card.total_bytes is not None:
            unused = int(card.total_bytes * (DEFAULT_UTILIZATION - utilization))
            # A running server's own bytes count as free here, so what is missing is others'.
            is_shared = card.free_bytes is not None and card.free_bytes < card.total_bytes * SHARED
            if is_shared or card.total_bytes * (1 - utilization) < LITTLE_BYTES:
                return None
            cost = f"{exact(unused)} of each card"
    return Found(
        "warning" if _is_short(target) else "info",
        f"only {utilization:.0%} of the card is taken: the rest of it can hold no token",
        evidence=target.said("gpu-memory-utilization"),
        cost=cost,
        fix=(options(" (0.92), unless something else uses the card", gpu_memory_utilization=None),),
    )


def _is_short(target: LintTarget) -> bool:
    """Whether the pool is known to be short: requests wait or are thrown out, or hardly one of full length fits."""
    seen = target.observed
    if seen is not None:
        return bool(seen.waiting_for_memory or seen.is_preempting)
    fits = None if target.plan is None else concurrency_of(target.plan)
    return fits is not None and fits.value < FEW_REQUESTS
