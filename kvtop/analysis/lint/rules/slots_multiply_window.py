"""Every slot pays for its own sliding windows or recurrent state, and a default server has four.

Why: the growing cache is shared or divided between slots, but windows and states are kept for each: windows times slots
(plus the micro-batch) in a unified cache, whole copies otherwise. It is a warning only where one slot would fit the
device and these do not.

Source: `llama_kv_cache_iswa` and `llama_memory_recurrent`, llama.cpp b11434; default slots: tools/server/server.cpp.

Cost: computed: these caches now, less those with one slot.

Fix: `-np 1` where one request at a time is enough.

Fires on: a default start of Gemma 3 27B. Quiet on: the same with `-np 1`, and on models without windows or state.
"""

from kvtop.analysis.lint.amounts import MIB, all_bytes, exact, fits_of, part_bytes
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.answers.room import Fit
from kvtop.domain.plan import MemoryPlan

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 32768", gpus=("24GiB",), model="gemma-3-27b")
QUIET = Example("llama-server -m MODEL -c 32768 -np 1", gpus=("24GiB",), model="gemma-3-27b")
KINDS = ("sliding_window", "recurrent")
NOTEWORTHY_RATIO = 0.01


def check(target: LintTarget) -> Outcome:
    """Needs the plan."""
    settings = target.llama
    if settings.parallel == 1 or settings.swa_full:
        return None
    plan = target.plan
    if plan is None:
        return Lacks(f"whether the model has windows or state is unknown: {target.plan_note}")
    alone = target.plan_with(parallel="1", kv_unified=None)
    if alone is None or plan.context is None:
        return None
    extra = part_bytes(plan, *KINDS) - part_bytes(alone, *KINDS)
    if extra < MIB and extra < all_bytes(plan) * NOTEWORTHY_RATIO:
        return None
    slots = plan.context.n_seq_max
    whose = "the default of four slots keeps" if settings.parallel is None else f"{slots} slots keep"
    return Found(
        "warning" if _fits(target, alone) and not _fits(target, plan) else "info",
        f"{whose} sliding windows or recurrent state {slots} times",
        evidence=target.said("parallel") or "default -np (4 slots)",
        cost=f"{exact(extra)} more than one slot",
        fix=(options(", if one request at a time is enough", parallel="1"),),
    )


def _fits(target: LintTarget, plan: MemoryPlan) -> bool:
    """On every device whose room is known."""
    return Fit.TOO_LARGE not in fits_of(plan, target.where)
