"""What would change if a server were started with other options: the same rules asked twice.

Only what the change touches moves: what a running server holds beyond its plan (runtime, unattributed) is measured once
and added to both sides.
"""

from kvtop.domain.answers.what_if import DeviceChange, WhatIf, WhatIfComparison
from kvtop.domain.figure import NOTHING, UNKNOWN, Figure
from kvtop.domain.launch import LaunchOptions, Origin
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan, NoExactRuleError, Refusal
from kvtop.planning.protocol.measured import Measured
from kvtop.planning.protocol.plan_context import PlanContext
from kvtop.planning.registry import engine_rules, plan_launch


def compare(plan_context: PlanContext, now: MemoryPlan | None, what_if: WhatIf) -> WhatIfComparison:
    """Plan the changed launch and hold it against the plan of now. Never raises for what the rules do not know."""
    launch, measured = expected(plan_context, what_if)
    try:
        then = plan_launch(
            launch,
            plan_context.model,
            plan_context.devices,
            draft=plan_context.draft,
            at_tokens=what_if.at_tokens,
            measured=measured,
        )
    except NoExactRuleError as error:
        return WhatIfComparison(what_if, now, None, note=str(error))
    if isinstance(then, Refusal):
        return WhatIfComparison(what_if, now, then, note=then.message)
    changes = tuple(_device(plan_context, now, then, part) for part in then.devices)
    return WhatIfComparison(what_if, now, then, changes, adjusted=_adjusted(what_if.base, launch))


def expected(plan_context: PlanContext, what_if: WhatIf) -> tuple[LaunchOptions, Measured]:
    """The changed launch as its engine would find the machine, and what it would find out by itself."""
    rules = engine_rules(what_if.base.engine)
    return (what_if.launch, plan_context.measured) if rules is None else rules.expected(plan_context, what_if)


def _adjusted(base: LaunchOptions, launch: LaunchOptions) -> str:
    """In the words of what an engine set itself, which the options before it do not have."""
    return next((it.detail for it in launch.options if it.origin is Origin.ASSUMED and it not in base.options), "")


def _device(plan_context: PlanContext, now: MemoryPlan | None, then: MemoryPlan, part: DeviceShare) -> DeviceChange:
    before = now.device(part.name) if now is not None else None
    planned = then.likely(part).with_output_in_compute()
    nothing = Memory.of(dict.fromkeys(planned, UNKNOWN if now is None else NOTHING))
    held = nothing if before is None or now is None else now.likely(before).with_output_in_compute()
    beyond_bytes = plan_context.beyond.get(part.name, 0)
    needed = planned.total + Figure.computed(beyond_bytes)
    # vLLM fills what it was told to fill: weights, the rest and the pool are the requested memory together.
    is_filled = then.likely(part) != part.memory
    is_measured = part.name in plan_context.held and held[Segment.COMPUTE] == planned[Segment.COMPUTE]
    if needed.value_bytes is not None and (is_filled or (is_measured and before is not None)):
        needed = Figure.estimated(needed.value_bytes, needed.value_bytes, needed.value_bytes)
    error_bytes = _compute_error(plan_context.compute_bytes.get(part.name), held, planned)
    return DeviceChange(
        part.name,
        _corrected(held, error_bytes),
        _corrected(planned, error_bytes),
        beyond_bytes + error_bytes,
        needed,
        plan_context.rooms.get(part.name),
    )


def _compute_error(known_bytes: int | None, held: Memory, planned: Memory) -> int:
    """How much too high the estimate of compute memory is for a running server: it is none of what lies beyond."""
    estimated, then = held[Segment.COMPUTE].value_bytes, planned[Segment.COMPUTE].value_bytes
    if known_bytes is None or estimated is None or then is None:
        return 0
    error_bytes = estimated - known_bytes
    return error_bytes if error_bytes <= then else 0


def _corrected(memory: Memory, error_bytes: int) -> Memory:
    compute = memory[Segment.COMPUTE]
    if not error_bytes or compute.value_bytes is None:
        return memory
    value = compute.value_bytes - error_bytes
    low, high = min(compute.least_bytes, value), max(compute.most_bytes or 0, value)
    return memory.replaced({Segment.COMPUTE: Figure.estimated(value, low, high, compute.source)})
