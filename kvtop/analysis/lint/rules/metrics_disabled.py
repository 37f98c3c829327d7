"""Neither metrics nor slots are exported, so nobody can see how full the cache is.

Why: kvtop reads the use of the cache from /slots (llama-server, on unless `--no-slots`) or from /metrics (llama-server
with `--metrics`; vLLM always unless `--disable-log-stats`). With one of them all that matters is known; a server that
was told to export neither cannot be watched.

Source: tools/server/server.cpp, llama.cpp b11434; vLLM 0.32.0.

Cost: none in memory; what is missing is in the dashboard as "?".

Fix: `--metrics` (llama-server); leave `--disable-log-stats` out (vLLM).

Fires on: `--no-slots` without `--metrics`. Quiet on: llama-server without either.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp", "vllm")
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL --no-slots")
QUIET = Example("llama-server -m MODEL")


def check(target: LintTarget) -> Outcome:
    """What a running endpoint says wins over the options."""
    has = None if target.observed is None else target.observed.has_metrics
    if has:
        return None
    if target.engine == "vllm":
        if target.value("disable-log-stats") is None:
            return None
        return Found(
            "info",
            "--disable-log-stats leaves vLLM without metrics of its KV pool",
            target.said("disable-log-stats"),
            fix=(options(disable_log_stats=None),),
        )
    seen = target.observed
    has_slots = target.value("slots") != "false" and (seen is None or seen.has_slots is not False)
    if target.value("metrics") == "true" or has_slots:
        return None
    return Found(
        "info",
        "/slots and /metrics are off, so the use of the cache, token counters and rates are unknown",
        target.said("slots", "metrics") or "the endpoint answers neither",
        fix=(options(metrics="true"),),
    )
