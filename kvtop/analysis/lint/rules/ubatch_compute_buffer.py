"""A large micro-batch: the compute buffer grows with it.

Why: activations and masks are sized for `-ub` tokens at a time, 512 by default; 2048 takes four times as much and makes
prompt processing faster, up to a point. With embeddings or reranking the whole input must fit in one micro-batch, so
there it is right.

Source: `graph_reserve`, src/llama-context.cpp, llama.cpp b11434.

Cost: estimated: compute at this `-ub`, less at 512.

Fix: `-ub 512` where memory is short.

Fires on: `-ub 4096` with a long context. Quiet on: the default, and on embeddings.
"""

from kvtop.analysis.lint.amounts import MIB, all_bytes, exact, fits_of
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.answers.room import Fit
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 65536 -b 4096 -ub 4096", gpus=("24GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -c 65536", gpus=("24GiB",), model="llama-3.1-8b")
DEFAULT_TOKENS = 512
MUCH_BYTES = 256 * MIB
LARGE_RATIO = 0.1


def check(target: LintTarget) -> Outcome:
    """Needs the plan."""
    settings = target.llama
    if min(settings.ubatch_tokens, settings.batch_tokens) <= DEFAULT_TOKENS or settings.embeddings:
        return None
    plan = target.plan
    if plan is None:
        return Lacks(f"the compute buffer is unknown: {target.plan_note}")
    if target.hparams is not None and target.hparams.traits.is_uncached:
        return None
    usual = target.plan_with(ubatch_size=str(DEFAULT_TOKENS))
    if usual is None:
        return None
    extra = _compute(plan) - _compute(usual)
    if extra < MUCH_BYTES and extra < all_bytes(plan) * LARGE_RATIO:
        return None
    decisive = _has_room(target, usual) and not _has_room(target, plan)
    return Found(
        "warning" if decisive else "info",
        f"-ub {settings.ubatch_tokens} makes the compute buffer larger"
        + (", and with the default of 512 everything would fit" if decisive else ""),
        evidence=target.said("batch-size", "ubatch-size"),
        cost=f"about {exact(extra)} more than -ub 512",
        fix=(options(" where memory is short", ubatch_size=str(DEFAULT_TOKENS)),),
    )


def _compute(plan: MemoryPlan) -> int:
    return plan.memory.bytes_of(Segment.COMPUTE) or 0


def _has_room(target: LintTarget, plan: MemoryPlan) -> bool:
    return Fit.TOO_LARGE not in fits_of(plan, target.where)
