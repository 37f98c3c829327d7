"""The frontier: which amounts of context fit with which cache types, cell by cell, and the largest that does.

What the rows and columns are is each engine's own (`EngineRules.frontier`); how a cell is judged is the same for all.
"""

from collections.abc import Callable, Sequence

from kvtop.domain.answers.frontier import Cell, Frontier, Row
from kvtop.domain.answers.room import Fit
from kvtop.domain.answers.what_if import WhatIf, WhatIfComparison
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, Refusal
from kvtop.planning.bisection import largest
from kvtop.planning.protocol.plan_context import PlanContext
from kvtop.planning.registry import engine_rules
from kvtop.planning.what_if import compare

COLUMNS = 10
STEP_TOKENS = 256


def frontier(plan_context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int) -> Frontier:
    """The grid around a configuration. `most_tokens` is the longest context worth a column (the trained one).

    What no rule knows is a cell whose fit is unknown. Raises NoExactRuleError for an engine without rules alone.
    """
    rules = engine_rules(now.engine)
    if rules is None:
        raise NoExactRuleError(f"kvtop has no memory rules for {now.engine}")
    return rules.frontier(plan_context, base, now, most_tokens)


def columns(most_tokens: int, current_tokens: int, least_tokens: int = 2048) -> tuple[int, ...]:
    """Powers of two up to the most, with the present amount among them; at most ten and never none."""
    powers = []
    power = least_tokens
    while power < max(most_tokens, current_tokens):
        powers.append(power)
        power *= 2
    return tuple(sorted({*powers[-COLUMNS + 2 :], max(most_tokens, least_tokens), current_tokens}))


def row_of(
    here: tuple[PlanContext, MemoryPlan],
    label: str,
    at: Callable[[int], WhatIf],
    amounts: Sequence[int],
    step: int,
    most: int,
) -> Row:
    found = [compare(*here, at(amount)) for amount in amounts]
    cells = tuple(cell_of(amount, it) for amount, it in zip(amounts, found, strict=True))
    refused = next((it.note for it in found if isinstance(it.then, Refusal) or it.then is None), "")
    if refused:
        return Row(label, cells, None, refused)
    # Where it is unknown whether some cells fit, so is the edge.
    known = all(cell.fit is not Fit.UNKNOWN for cell in cells)
    steps = largest(lambda count: compare(*here, at(count * step)).fit is Fit.FITS, most // step) if known else 0
    return Row(label, cells, steps * step if known else None)


def cell_of(amount: int, found: WhatIfComparison) -> Cell:
    needed = [device for device in found.devices if device.is_whole and device.room is not None]
    tightest = min(
        needed,
        key=lambda it: (it.room.low_bytes if it.room else 0) - (it.needed.most_bytes or 0),
        default=None,
    )
    return Cell(amount, found.fit, tightest.needed if tightest is not None else None, found.what_if.changes)


def concurrency(found: WhatIfComparison) -> tuple[float, float, float] | None:
    """(least, likely, most) requests; None where nothing is known."""
    plan = found.then.vllm if isinstance(found.then, MemoryPlan) else None
    if plan is None:
        return None
    if plan.max_concurrency is not None:
        return plan.max_concurrency, plan.max_concurrency, plan.max_concurrency
    likely = plan.pool_estimate
    return None if likely is None else (likely.concurrency_low, likely.concurrency, likely.concurrency_high)


def holds(span: tuple[float, float, float] | None, count: int) -> Fit:
    if span is None:
        return Fit.UNKNOWN
    if span[0] >= count:
        return Fit.FITS
    return Fit.TIGHT if span[1] >= count else Fit.TOO_LARGE
