"""The frontier of llama-server: cells of the cache x pairs of cache types."""

from collections.abc import Callable

from kvtop.domain.answers.frontier import Frontier
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.frontier import STEP_TOKENS, columns, row_of
from kvtop.planning.llamacpp.what_if.knobs import DEFAULTS, settle
from kvtop.planning.protocol.knobs import settled
from kvtop.planning.protocol.plan_context import PlanContext

PAIRS = (
    ("f16", "f16"),
    ("bf16", "bf16"),
    ("q8_0", "q8_0"),
    ("q8_0", "q5_1"),
    ("q8_0", "q4_0"),
    ("q5_1", "q5_1"),
    ("q5_0", "q5_0"),
    ("q4_1", "q4_1"),
    ("q4_0", "q4_0"),
)
"""Equal types, and those with more bits for the keys: the other way round takes as many bytes and loses more."""


def frontier(plan_context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int) -> Frontier:
    """The grid around a configuration; amounts are cells of the whole pool."""
    context = now.context
    cells_now = context.n_ctx if context is not None else 0
    streams = 1 if context is None or context.kv_unified else context.n_seq_max
    amounts = columns(most_tokens * streams, cells_now)
    present = (base.value("cache-type-k") or "f16", base.value("cache-type-v") or "f16")
    pairs = PAIRS if present in PAIRS else (present, *PAIRS)

    def at(pair: tuple[str, str]) -> Callable[[int], WhatIf]:
        typed = base.with_changes(**{"cache-type-k": pair[0], "cache-type-v": pair[1]})
        return lambda cells: settled(typed.with_changes(**{"ctx-size": str(cells)}), now, DEFAULTS, settle)

    step = STEP_TOKENS * streams
    rows = [row_of((plan_context, now), "/".join(pair), at(pair), amounts, step, max(amounts)) for pair in pairs]
    current = (pairs.index(present), amounts.index(cells_now)) if cells_now in amounts else None
    return Frontier(now.engine, "context", amounts, tuple(rows), current)
