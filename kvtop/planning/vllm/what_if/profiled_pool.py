"""The pool that a running vLLM profiled: what it reports becomes bytes that a what-if of the same server keeps."""

from dataclasses import replace

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.protocol.measured import Measured
from kvtop.planning.protocol.plan_context import PlanContext
from kvtop.planning.vllm.options.settings import DEFAULT_UTILIZATION

UTILIZATION = "gpu-memory-utilization"
_POOL_STATED = frozenset({"kv-cache-memory-bytes", "num-gpu-blocks-override"})
_POOL_MOVED = frozenset({"tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size", "dtype"})


def kept(measured: Measured, now: MemoryPlan | None) -> Measured:
    """A pool that the server reports becomes the bytes that it is now: other options may give blocks another size."""
    if measured.pool_blocks is None or now is None or not now.devices:
        return measured
    return replace(measured, pool_blocks=None, pool_bytes=now.devices[0].memory.bytes_of(Segment.KV_CACHE))


def expected(plan_context: PlanContext, what_if: WhatIf) -> tuple[LaunchOptions, Measured]:
    """The changed launch; of a running vLLM with the pool it would find (`determine_available_memory`, 0.32.0)."""
    launch, measured = what_if.launch, plan_context.measured
    pool_bytes, changed = measured.pool_bytes, {name for name, _ in what_if.changes}
    if pool_bytes is None:
        return launch, measured
    if changed & (_POOL_STATED | _POOL_MOVED):
        return launch, replace(measured, pool_bytes=None)
    if "gpu-memory-utilization" in changed:
        total_bytes = plan_context.devices[0].total_bytes if plan_context.devices else None
        if total_bytes is None:
            return launch, replace(measured, pool_bytes=None)
        shares = [
            float(it or DEFAULT_UTILIZATION) for it in (what_if.base.value(UTILIZATION), launch.value(UTILIZATION))
        ]
        pool_bytes += round((shares[1] - shares[0]) * total_bytes)
    return launch, replace(measured, pool_bytes=max(pool_bytes, 0))
