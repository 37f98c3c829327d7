"""The server exports no metrics, so nobody can see how full it is or how fast.

Why: llama-server answers /metrics only with `--metrics`; vLLM always does unless `--disable-log-stats` is given. kvtop
reads counters, rates and waiting requests from there.

Source: tools/server/server.cpp, llama.cpp b11434; vLLM 0.32.0.

Cost: none in memory; what is missing is in the dashboard as "?".

Fix: `--metrics` (llama-server); leave `--disable-log-stats` out (vLLM).

Fires on: llama-server without `--metrics`. Quiet on: with it.
"""

from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import Subject

ENGINES: tuple[str, ...] = ("llama.cpp", "vllm")
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL")
QUIET = Example("llama-server -m MODEL --metrics")


def check(subject: Subject) -> Outcome:
    """What a running endpoint says wins over the options."""
    has = None if subject.observed is None else subject.observed.has_metrics
    if has:
        return None
    if subject.engine == "vllm":
        if subject.value("disable-log-stats") is None:
            return None
        return Found(
            "info",
            "--disable-log-stats leaves vLLM without metrics of its KV pool",
            subject.said("disable-log-stats"),
            fix="leave --disable-log-stats out",
        )
    if subject.value("metrics") == "true":
        return None
    return Found(
        "info",
        "/metrics is off, so token counters and rates are unknown",
        subject.said("metrics") or "no --metrics",
        fix="--metrics",
    )
