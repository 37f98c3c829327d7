"""`--swa-full` gives sliding-window layers a cache of the whole context.

Why: those layers look at their window only. The full cache buys prompt reuse after edits in the middle and context
shift, which the context checkpoints (on by default) mostly give too.

Source: src/llama-kv-cache-iswa.cpp, llama.cpp b11434.

Cost: computed: the plan with it, less the plan without.

Fix: leave `--swa-full` out; `--ctx-checkpoints` keeps prompts reusable.

Fires on: `--swa-full` on Gemma 3. Quiet on: the same without it, and on models without windows, where it does nothing.
"""

from kvtop.analysis.lint.amounts import all_bytes, exact
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 32768 --swa-full", gpus=("48GiB",), model="gemma-3-27b")
QUIET = Example("llama-server -m MODEL -c 32768 --swa-full", gpus=("24GiB",), model="llama-3.1-8b")


def check(target: LintTarget) -> Outcome:
    """Needs the plan."""
    if not target.llama.swa_full:
        return None
    if target.plan is None:
        return Lacks(f"whether the model has sliding windows is unknown: {target.plan_note}")
    without = target.plan_with(swa_full=None)
    if without is None:
        return None
    extra = all_bytes(target.plan) - all_bytes(without)
    if extra <= 0:
        return None
    return Found(
        "warning",
        "--swa-full gives sliding-window layers a cache of the whole context",
        evidence=target.said("swa-full"),
        cost=exact(extra),
        fix=(options(", unless prompts are edited in the middle all the time", swa_full=None),),
    )
