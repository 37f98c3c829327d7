"""The frontier of `vllm serve`: requests of full length at once x cache types."""

from kvtop.domain.answers.frontier import Cell, Frontier, Row
from kvtop.domain.answers.room import Fit
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.frontier import concurrency, holds
from kvtop.planning.protocol.knobs import settled
from kvtop.planning.protocol.plan_context import PlanContext
from kvtop.planning.vllm.what_if.knobs import DEFAULTS, settle
from kvtop.planning.what_if import compare

CACHE_DTYPES = ("auto", "fp8", "fp8_e5m2")

SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def frontier(plan_context: PlanContext, base: WhatIf, now: MemoryPlan, _: int) -> Frontier:
    """How many requests of full length a pool holds: exact where its bytes are stated, else by the likely pool."""
    present = base.value("kv-cache-dtype") or "auto"
    types = CACHE_DTYPES if present in CACHE_DTYPES else (present, *CACHE_DTYPES)
    rows = []
    for dtype in types:
        what_if = settled(base.with_changes(**{"kv-cache-dtype": dtype}), now, DEFAULTS, settle)
        found = compare(plan_context, now, what_if)
        span = concurrency(found)
        cells = tuple(Cell(count, holds(span, count), None, what_if.changes) for count in SEQUENCES)
        most = None if span is None else int(span[0])
        rows.append(Row(dtype, cells, most, "" if isinstance(found.then, MemoryPlan) else found.note))
    row = types.index(present)
    return Frontier(
        now.engine,
        "requests of full length at once",
        SEQUENCES,
        tuple(rows),
        (row, _stands(rows[row])),
        amounts_are_tokens=False,
    )


def _stands(row: Row) -> int:
    """The column where a pool stands: as many requests as it is likely to hold, the first where it holds none."""
    held = [at for at, cell in enumerate(row.cells) if cell.fit in {Fit.FITS, Fit.TIGHT}]
    return max(held, default=0)
