"""What would change if a server were started with other options: the same rules asked twice.

Only what the change touches moves: what a running server holds beyond its plan (runtime, unattributed) is measured once
and added to both sides.
"""

from kvtop.domain.answers.what_if import DeviceChange, SegmentChange, WhatIf, WhatIfComparison
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import DevicePlan, Estimate, MemoryPlan, NoExactRuleError, Refusal
from kvtop.planning.protocol.plan_context import PlanContext
from kvtop.planning.registry import engine_rules, plan_launch

_SEGMENTS = ("weights", "kv_cache", "recurrent_state", "compute", "output")


def compare(plan_context: PlanContext, now: MemoryPlan | None, what_if: WhatIf) -> WhatIfComparison:
    """Plan the changed launch and hold it against the plan of now. Never raises for what the rules do not know."""
    try:
        then = plan_launch(
            expected_launch(plan_context, what_if),
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


def running(launch: LaunchOptions, now: MemoryPlan | None, at_tokens: int | None = None) -> WhatIf:
    """The what-if of a running server, nothing changed yet."""
    rules = engine_rules(launch.engine)
    return WhatIf(launch, at_tokens=at_tokens) if rules is None else rules.running(launch, now, at_tokens)


def expected_launch(plan_context: PlanContext, what_if: WhatIf) -> LaunchOptions:
    """The changed launch as its engine would find the machine: a pool that it profiles becomes bytes."""
    rules = engine_rules(what_if.base.engine)
    return what_if.launch if rules is None else rules.expected_launch(plan_context, what_if)


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
