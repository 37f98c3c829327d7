"""Neither metrics nor slots are exported, so the use of the cache is unknown.

Why: kvtop reads the use of the cache from /slots (llama-server, on unless `--no-slots`) or from /metrics (llama-server
with `--metrics`; vLLM always unless `--disable-log-stats`). With one of them all that matters is known; a server that
exports neither cannot be watched.

Source: tools/server/server.cpp, llama.cpp b11434; vLLM 0.32.0.

Cost: none in memory; what is missing is in the dashboard as "?".

Fix: `--metrics` (llama-server); leave `--disable-log-stats` out (vLLM).

Fires on: `--no-slots` without `--metrics`. Quiet on: llama-server without either.
"""

from kvtop.analysis.lint.fixes.fix import Fix
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.planning.registry import PLANNED

ENGINES = PLANNED
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL --no-slots")
QUIET = Example("llama-server -m MODEL")
WATCHING = ("slots", "metrics")


def check(target: LintTarget) -> Outcome:
    """What a running endpoint says wins over the options."""
    seen = target.observed
    if target.launch is None or (seen is not None and seen.has_metrics):
        return None
    missing = target.traits.unexported(target.launch, has_slots=seen is None or seen.has_slots is not False)
    if not missing:
        return None
    said = target.said(*WATCHING, *(name for name, _ in missing))
    return Found(
        "info",
        "no endpoint reports how full the cache is; token counters and rates are unknown too",
        said or "the endpoint answers neither",
        fix=(Fix(missing),),
    )
