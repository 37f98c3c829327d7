"""The pool that a running vLLM profiled: what it reports becomes bytes that a what-if of the same server keeps."""

from dataclasses import replace

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.protocol.plan_context import PlanContext
from kvtop.planning.vllm.options.settings import DEFAULT_UTILIZATION

UTILIZATION = "gpu-memory-utilization"
_POOL_STATED = frozenset({"kv-cache-memory-bytes", "num-gpu-blocks-override"})
_POOL_MOVED = frozenset({"tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size", "dtype"})


def running(launch: LaunchOptions, now: MemoryPlan | None, at_tokens: int | None = None) -> WhatIf:
    """The what-if of a running server, nothing changed yet. A pool that it reports becomes bytes that stay."""
    stated = launch.get("num-gpu-blocks-override")
    if stated is None or stated.origin is not Origin.ENDPOINT:
        return WhatIf(launch, at_tokens=at_tokens)
    base = replace(launch, options=tuple(option for option in launch.options if option is not stated))
    pool_bytes = now.devices[0].memory.bytes_of(Segment.KV_CACHE) if now is not None and now.devices else None
    return WhatIf(base, at_tokens=at_tokens, measured_pool_bytes=pool_bytes)


def expected_launch(plan_context: PlanContext, what_if: WhatIf) -> LaunchOptions:
    """The changed launch; a running vLLM with the pool it would find (`determine_available_memory`, 0.32.0)."""
    launch, pool_bytes = what_if.launch, what_if.measured_pool_bytes
    changed = {name for name, _ in what_if.changes}
    if pool_bytes is None or changed & (_POOL_STATED | _POOL_MOVED):
        return launch
    if "gpu-memory-utilization" in changed:
        total_bytes = plan_context.devices[0].total_bytes if plan_context.devices else None
        if total_bytes is None:
            return launch
        shares = [
            float(it or DEFAULT_UTILIZATION) for it in (what_if.base.value(UTILIZATION), launch.value(UTILIZATION))
        ]
        pool_bytes += round((shares[1] - shares[0]) * total_bytes)
    found = LaunchOption("kv-cache-memory-bytes", str(max(pool_bytes, 0)), Origin.ASSUMED, "as measured by the server")
    return replace(launch, options=(*launch.options, found))
