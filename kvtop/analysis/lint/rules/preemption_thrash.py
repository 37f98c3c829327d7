"""Requests are thrown out of the KV pool and computed again.

Why: when the pool is full vLLM preempts the latest request and recomputes all of it later. The counter moves only when
such a request produces output again, so requests that wait for memory in a full pool are the earlier sign.

Source: vLLM 0.32.0 docs configuration/optimization, `v1/core/sched/scheduler.py`; run there.

Cost: tokens computed twice, and latency.

Fix: fewer `--max-num-seqs` or `--max-num-batched-tokens`, a larger `--gpu-memory-utilization`, `--kv-cache-dtype fp8`.

Fires on: a rising preemption counter. Quiet on: a pool with room.
"""

from kvtop.analysis.lint.fixes.capacity import pool_capacity_fix
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = False
FIRES = Example("vllm serve MODEL", observed=Observed(used_ratio=0.99, waiting_for_memory=5, is_preempting=True))
QUIET = Example("vllm serve MODEL", observed=Observed(used_ratio=0.4, waiting_for_memory=0, is_preempting=False))
FULL_RATIO = 0.9


def check(target: LintTarget) -> Outcome:
    """Needs a running server."""
    seen = target.observed
    if seen is None:
        return Lacks("needs a running server")
    if seen.is_preempting is None and seen.waiting_for_memory is None:
        return Lacks("the server exports neither preemptions nor waiting requests")
    full = seen.used_ratio is not None and seen.used_ratio > FULL_RATIO
    if not seen.is_preempting and not (full and seen.waiting_for_memory):
        if seen.is_preempting is None and seen.preemptions_total != 0:
            return Lacks("whether the count of preemptions rises shows from the second look on")
        return None
    evidence = f"pool {seen.used_ratio or 0:.0%} full, {seen.waiting_for_memory or 0:.0f} requests wait for memory"
    return Found(
        "warning",
        "requests are preempted: the pool is too small for what runs at once, and their tokens are computed again"
        if seen.is_preempting
        else "requests wait for memory in a full pool: vLLM preempts those that run, and its count of that lags behind",
        evidence=f"{evidence}, {seen.preemptions_total or 0:.0f} preemptions since the start",
        cost="tokens computed twice",
        fix=pool_capacity_fix(target, seen),
    )
