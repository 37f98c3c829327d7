"""The frontier of mlx_lm.server: the length of one sequence x bits of its cache."""

from collections.abc import Callable

from kvtop.domain.answers.frontier import Frontier
from kvtop.domain.answers.what_if import WhatIf, replace_length
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.frontier import STEP_TOKENS, columns, row_of
from kvtop.planning.protocol.plan_context import PlanContext

BITS = (None, "8", "6", "4", "3", "2")


def frontier(plan_context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int) -> Frontier:
    """The grid around a configuration; amounts are tokens of one sequence."""
    length = base.at_tokens or most_tokens
    amounts = columns(most_tokens, length, STEP_TOKENS)
    present = base.value("kv-bits")

    def at(bits: str | None) -> Callable[[int], WhatIf]:
        return lambda tokens: replace_length(base.with_changes(**{"kv-bits": bits}), tokens)

    rows = [
        row_of(
            (plan_context, now),
            "16-bit" if bits is None else f"{bits}-bit",
            at(bits),
            amounts,
            STEP_TOKENS,
            most_tokens,
        )
        for bits in BITS
    ]
    row = BITS.index(present) if present in BITS else 0
    return Frontier(now.engine, "length of the sequence", amounts, tuple(rows), (row, amounts.index(length)))
