"""Finished prompts keep their caches, ten of them, without a limit in bytes.

Why: `--prompt-cache-size` (10) counts sequences, however long. `--prompt-cache-bytes` has no default; it is applied
only when a request joins a batch, to logical bytes, and not at all with `--kv-bits` or a draft model.

Source: mlx-lm 0.32.2 server.py (`LRUPromptCache`); run there: 8 sequences and 30 MB held under a limit of 20 MB.

Cost: computed: ten times the cache of a sequence of full length.

Fix: `--prompt-cache-size 2`, which does bound it; `--prompt-cache-bytes` besides.

Fires on: the default, and a limit in bytes that is ignored. Quiet on: a small `--prompt-cache-size`.
"""

from kvtop.analysis.lint.amounts import cache_bytes, exact
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("mlx",)
READS_LAUNCH = True
FIRES = Example("mlx_lm.server --model MODEL", model="llama-3.1-8b")
QUIET = Example("mlx_lm.server --model MODEL --prompt-cache-size 2", model="llama-3.1-8b")
DEFAULT_SEQUENCES = 10


def check(target: LintTarget) -> Outcome:
    """Needs only the options; the plan of one sequence gives the bytes."""
    sequences = int(target.value("prompt-cache-size") or DEFAULT_SEQUENCES)
    limited = target.value("prompt-cache-bytes") is not None
    sequential = target.said("kv-bits", "draft-model")
    if sequences < DEFAULT_SEQUENCES or (limited and not sequential):
        return None
    cost = ""
    if target.plan is not None:
        one = cache_bytes(target.plan)
        cost = f"up to {exact(one * sequences)}: {sequences} sequences of full length"
    if limited:
        return Found(
            "warning",
            "--prompt-cache-bytes is ignored with --kv-bits or a draft model: finished prompts pile up",
            evidence=f"{target.said('prompt-cache-bytes')}, {sequential}",
            cost=cost,
            fix=(options(prompt_cache_size="2"),),
        )
    return Found(
        "info",
        f"the caches of {sequences} finished prompts are kept, however long they are",
        evidence=target.said("prompt-cache-size") or "default --prompt-cache-size 10, no --prompt-cache-bytes",
        cost=cost,
        fix=(options(prompt_cache_size="2"), options(prompt_cache_bytes="4GB")),
    )
