"""What would change if a server were started with other options: the same rules asked twice.

Only what the change touches moves: what a running server holds beyond its plan (runtime, unattributed) is measured once
and added to both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvtop.domain.answers.what_if import DeviceChange, SegmentChange, WhatIf, WhatIfComparison
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.plan import DevicePlan, Estimate, MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.registry import PlannableModel, plan_launch
from kvtop.planning.vllm.options.settings import DEFAULT_UTILIZATION

UTILIZATION = "gpu-memory-utilization"
_SEGMENTS = ("weights", "kv_cache", "recurrent_state", "compute", "output")


def running(launch: LaunchOptions, now: MemoryPlan | None, at_tokens: int | None = None) -> WhatIf:
    """The what-if of a running server, nothing changed yet. A pool that vLLM reports becomes bytes that stay."""
    stated = launch.get("num-gpu-blocks-override")
    if launch.engine != "vllm" or stated is None or stated.origin is not Origin.ENDPOINT:
        return WhatIf(launch, at_tokens=at_tokens)
    base = replace(launch, options=tuple(option for option in launch.options if option is not stated))
    pool_bytes = now.devices[0].kv_cache_bytes if now is not None and now.devices else None
    return WhatIf(base, at_tokens=at_tokens, measured_pool_bytes=pool_bytes)


def replace_length(what_if: WhatIf, tokens: int) -> WhatIf:
    """The same options, looked at with another length of sequence."""
    return replace(what_if, at_tokens=tokens)


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What a what-if stands on and does not change: the model, the devices, what is free, what lies beyond the plan.

    `rooms` and `beyond` are by the plan's names of devices ("gpu0", "host"). `held` names those where the room has in
    it what the server holds already: an estimate that stays as it is then cancels out, with all that it may be off.
    """

    model: PlannableModel
    devices: tuple[PlanDevice, ...]
    rooms: Mapping[str, int | None]
    beyond: Mapping[str, int]
    draft: PreparedModel | None = None
    held: frozenset[str] = frozenset()


def compare(plan_context: PlanContext, now: MemoryPlan | None, what_if: WhatIf) -> WhatIfComparison:
    """Plan the changed launch and hold it against the plan of now. Never raises for what the rules do not know."""
    try:
        then = plan_launch(
            _as_it_would_find(plan_context, what_if),
            plan_context.model,
            plan_context.devices,
            draft=plan_context.draft,
            at_tokens=what_if.at_tokens,
        )
    except NoExactRuleError as error:
        return WhatIfComparison(what_if, now, None, note=str(error))
    if isinstance(then, Refusal):
        return WhatIfComparison(what_if, now, then, note=then.message)
    return WhatIfComparison(what_if, now, then, tuple(_device(plan_context, now, then, part) for part in then.devices))


_POOL_STATED = frozenset({"kv-cache-memory-bytes", "num-gpu-blocks-override"})
_POOL_MOVED = frozenset({"tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size", "dtype"})


def _as_it_would_find(plan_context: PlanContext, what_if: WhatIf) -> LaunchOptions:
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


def _device(plan_context: PlanContext, now: MemoryPlan | None, then: MemoryPlan, part: DevicePlan) -> DeviceChange:
    before = now.device(part.name) if now is not None else None
    changes = tuple(
        SegmentChange(
            segment,
            None if now is None else _amount(now, before, segment),
            _amount(then, part, segment),
        )
        for segment in _SEGMENTS
    )
    beyond_bytes = plan_context.beyond.get(part.name, 0)
    needed = _needed(then, part, beyond_bytes)
    if needed is not None and part.name in plan_context.held and before is not None and before.compute == part.compute:
        needed = Estimate(needed.value_bytes, needed.value_bytes, needed.value_bytes)
    return DeviceChange(part.name, changes, beyond_bytes, needed, plan_context.rooms.get(part.name))


def _amount(plan: MemoryPlan, part: DevicePlan | None, segment: str) -> int | None:
    if part is None:
        return 0
    if segment == "compute":
        return part.compute.value_bytes if plan.is_compute_known else None
    if segment == "kv_cache" and part.kv_cache_bytes is None and plan.vllm is not None and plan.vllm.pool_estimate:
        return plan.vllm.pool_estimate.pool.value_bytes
    amounts = {
        "weights": part.weights_bytes,
        "kv_cache": part.kv_cache_bytes,
        "recurrent_state": part.recurrent_state_bytes,
        "output": part.output_bytes,
    }
    return amounts[segment]


def _needed(plan: MemoryPlan, part: DevicePlan, beyond_bytes: int) -> Estimate | None:
    if part.weights_bytes is None or not plan.is_compute_known:
        return None
    if part.kv_cache_bytes is None:
        # vLLM fills what it was told to fill: weights, the rest and the pool are the requested memory together.
        likely = plan.vllm.pool_estimate if plan.vllm is not None else None
        if likely is None:
            return None
        whole = part.weights_bytes + part.compute.value_bytes + likely.pool.value_bytes + beyond_bytes
        return Estimate(whole, whole, whole)
    return part.compute + part.held + Estimate.exactly(beyond_bytes)
