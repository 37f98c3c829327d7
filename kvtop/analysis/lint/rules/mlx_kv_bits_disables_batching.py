"""`--kv-bits` disables batching: requests are served one after the other.

Why: only plain caches can be batched, so with `--kv-bits` the server takes its sequential path and
`--decode-concurrency` does nothing. A draft model does the same.

Source: mlx-lm 0.32.2 server.py (`_is_batchable`).

Cost: throughput with more than one user; none with one.

Fix: leave `--kv-bits` out where several requests run at once.

Fires on: `--kv-bits 8`. Quiet on: the same without it.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("mlx",)
READS_LAUNCH = True
FIRES = Example("mlx_lm.server --model MODEL --kv-bits 8")
QUIET = Example("mlx_lm.server --model MODEL")


def check(target: LintTarget) -> Outcome:
    """Needs only the options; asked-for concurrency makes it a warning."""
    if target.value("kv-bits") is None:
        return None
    asked = target.said("decode-concurrency", "prompt-concurrency")
    return Found(
        "warning" if asked else "info",
        "--kv-bits makes the server take one request at a time" + (f", so {asked} does nothing" if asked else ""),
        evidence=f"{target.said('kv-bits')}{', ' + asked if asked else ''}",
        cost="throughput with more than one request at a time",
        fix=(options(" where several requests run at once", kv_bits=None),),
    )
