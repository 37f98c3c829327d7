"""The frontier: which contexts fit with which cache types, cell by cell, and the largest one that does.

llama.cpp: context x pair of cache types. vLLM: requests of full length at once x cache type. MLX: length of one
sequence x bits of the cache.
"""

from collections.abc import Callable, Sequence

from kvtop.domain.answers.frontier import Cell, Frontier, Row
from kvtop.domain.answers.plan_answer import Fit
from kvtop.domain.answers.what_if import WhatIf, WhatIfComparison
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.adjustments.defaults import settled
from kvtop.planning.bisection import largest
from kvtop.planning.what_if import PlanContext, compare, replace_length

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

CACHE_DTYPES = ("auto", "fp8", "fp8_e5m2")
MLX_BITS = (None, "8", "6", "4", "3", "2")
COLUMNS = 10
STEP_TOKENS = 256
SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def frontier(plan_context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int) -> Frontier:
    """The grid around a configuration. `most_tokens` is the longest context worth a column (the trained one).

    Raises NoExactRuleError never: what no rule knows is a cell whose fit is unknown.
    """
    if now.engine == "llama.cpp":
        return _llamacpp(plan_context, base, now, most_tokens)
    if now.engine == "vllm":
        return _vllm(plan_context, base, now)
    return _mlx(plan_context, base, now, most_tokens)


def columns(most_tokens: int, current_tokens: int, least_tokens: int = 2048) -> tuple[int, ...]:
    """Powers of two up to the most, with the present amount among them; at most ten and never none."""
    powers = []
    power = least_tokens
    while power < max(most_tokens, current_tokens):
        powers.append(power)
        power *= 2
    return tuple(sorted({*powers[-COLUMNS + 2 :], max(most_tokens, least_tokens), current_tokens}))


def _llamacpp(plan_context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int) -> Frontier:
    context = now.context
    cells_now = context.n_ctx if context is not None else 0
    streams = 1 if context is None or context.kv_unified else context.n_seq_max
    amounts = columns(most_tokens * streams, cells_now)
    present = (base.value("cache-type-k") or "f16", base.value("cache-type-v") or "f16")
    pairs = PAIRS if present in PAIRS else (present, *PAIRS)

    def at(pair: tuple[str, str]) -> Callable[[int], WhatIf]:
        typed = base.with_changes(**{"cache-type-k": pair[0], "cache-type-v": pair[1]})
        return lambda cells: settled(typed.with_changes(**{"ctx-size": str(cells)}), now)

    step = STEP_TOKENS * streams
    rows = [_row((plan_context, now), "/".join(pair), at(pair), amounts, step, max(amounts)) for pair in pairs]
    current = (pairs.index(present), amounts.index(cells_now)) if cells_now in amounts else None
    return Frontier("llama.cpp", "context", amounts, tuple(rows), current)


def _mlx(plan_context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int) -> Frontier:
    length = base.at_tokens or most_tokens
    amounts = columns(most_tokens, length, STEP_TOKENS)
    present = base.value("kv-bits")

    def at(bits: str | None) -> Callable[[int], WhatIf]:
        return lambda tokens: replace_length(base.with_changes(**{"kv-bits": bits}), tokens)

    rows = [
        _row(
            (plan_context, now),
            "16-bit" if bits is None else f"{bits}-bit",
            at(bits),
            amounts,
            STEP_TOKENS,
            most_tokens,
        )
        for bits in MLX_BITS
    ]
    row = MLX_BITS.index(present) if present in MLX_BITS else 0
    return Frontier("mlx", "length of the sequence", amounts, tuple(rows), (row, amounts.index(length)))


def _row(
    here: tuple[PlanContext, MemoryPlan],
    label: str,
    at: Callable[[int], WhatIf],
    amounts: Sequence[int],
    step: int,
    most: int,
) -> Row:
    found = [compare(*here, at(amount)) for amount in amounts]
    cells = tuple(_cell(amount, it) for amount, it in zip(amounts, found, strict=True))
    refused = next((it.note for it in found if isinstance(it.then, Refusal) or it.then is None), "")
    if refused:
        return Row(label, cells, None, refused)
    # Where it is unknown whether some cells fit, so is the edge.
    known = all(cell.fit is not Fit.UNKNOWN for cell in cells)
    steps = largest(lambda count: compare(*here, at(count * step)).fit is Fit.FITS, most // step) if known else 0
    return Row(label, cells, steps * step if known else None)


def _cell(amount: int, found: WhatIfComparison) -> Cell:
    needed = [device for device in found.devices if device.needed is not None and device.room_bytes is not None]
    tightest = min(
        needed,
        key=lambda it: (it.room_bytes or 0) - (it.needed.high_bytes if it.needed is not None else 0),
        default=None,
    )
    return Cell(amount, found.fit, tightest.needed if tightest is not None else None, found.what_if.changes)


def _vllm(plan_context: PlanContext, base: WhatIf, now: MemoryPlan) -> Frontier:
    """How many requests of full length a pool holds: exact where its bytes are stated, else by the likely pool."""
    present = base.value("kv-cache-dtype") or "auto"
    types = CACHE_DTYPES if present in CACHE_DTYPES else (present, *CACHE_DTYPES)
    rows = []
    for dtype in types:
        what_if = settled(base.with_changes(**{"kv-cache-dtype": dtype}), now)
        found = compare(plan_context, now, what_if)
        span = concurrency(found)
        cells = tuple(Cell(count, holds(span, count), None, what_if.changes) for count in SEQUENCES)
        most = None if span is None else int(span[0])
        rows.append(Row(dtype, cells, most, "" if isinstance(found.then, MemoryPlan) else found.note))
    row = types.index(present)
    return Frontier("vllm", "requests of full length at once", SEQUENCES, tuple(rows), (row, _stands(rows[row])))


def _stands(row: Row) -> int:
    """The column where a pool stands: as many requests as it is likely to hold, the first where it holds none."""
    held = [at for at, cell in enumerate(row.cells) if cell.fit in {Fit.FITS, Fit.TIGHT}]
    return max(held, default=0)


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
