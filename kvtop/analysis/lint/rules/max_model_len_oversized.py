"""Requests are far shorter than `--max-model-len` provides for.

Why: the limit decides what vLLM checks at start, how many requests it counts on, and with sliding windows and CUDA
graphs what it reserves. Requests that never come near it leave the question why it is so long.

Source: vLLM 0.32.0 `v1/core/kv_cache_utils.py` (max_concurrency), `config/model.py`.

Cost: requests of full length that are counted on and never come.

Fix: `--max-model-len` at twice the longest request seen.

Fires on: a longest request of 3000 tokens under a limit of 131072. Quiet on: one of 100000.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = False
FIRES = Example("vllm serve MODEL", observed=Observed(longest_sequence_tokens=3000, sequence_limit_tokens=131072))
QUIET = Example("vllm serve MODEL", observed=Observed(longest_sequence_tokens=100000, sequence_limit_tokens=131072))
FAR = 8


def check(target: LintTarget) -> Outcome:
    """Needs the longest request that a running server has seen."""
    seen = target.observed
    if seen is None:
        return Lacks("needs a running server")
    longest, limit = seen.longest_sequence_tokens, seen.sequence_limit_tokens
    if longest is None or limit is None or longest == 0:
        return Lacks("the longest request so far is unknown")
    if longest * FAR > limit:
        return None
    return Found(
        "info",
        f"the longest request so far had {longest} tokens and the limit is {limit}",
        evidence=f"{target.said('max-model-len') or 'default --max-model-len'}; longest sequence {longest}",
        cost=f"a request is counted as {limit} tokens",
        fix=(options(max_model_len=str(max(longest * 2, 1024))),),
    )
