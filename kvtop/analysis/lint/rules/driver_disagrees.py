"""What was computed and what is reported differ by more than the stated error.

Why: then something is not as the command line says: another model file, another build, options that kvtop does not
know. No figure of this server should be trusted until it is explained.

Source: the plan, beside the engine's own report and the driver's; the tolerance is the rounding of the report.

Cost: trust.

Fix: compare the version with the one that the rules were checked on; report it with `kvtop snapshot --json`.

Fires on: 8 GiB computed, 9 GiB reported. Quiet on: equal figures.
"""

from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.headroom import Disagreement

ENGINES: tuple[str, ...] = ()
READS_LAUNCH = False
_OFF = Disagreement("weights", "gpu0", 8 << 30, 9 << 30, 1 << 20, "vLLM's own report")
FIRES = Example("vllm serve MODEL", observed=Observed(disagreements=(_OFF,)))
QUIET = Example("vllm serve MODEL", observed=Observed(disagreements=()))


def check(target: LintTarget) -> Outcome:
    """Needs a running server with a plan and a report."""
    seen = target.observed
    if seen is None:
        return Lacks("needs a running server")
    if seen.disagreements is None:
        return Lacks("nothing was computed that could be compared")
    if not seen.disagreements:
        return None
    first = seen.disagreements[0]
    unit = "tokens" if first.segment.endswith("tokens") else "bytes"
    return Found(
        "warning",
        f"{first.segment}: {first.computed} {unit} were computed and {first.reported} are reported: do not trust the "
        "figures of this server until that is explained",
        evidence="; ".join(
            f"{it.segment} on {it.device_id}: computed {it.computed}, reported {it.reported} by {it.source}"
            for it in seen.disagreements
        ),
        cost=f"{abs(first.computed - first.reported)} {unit} unexplained",
        fix="compare the engine's version with the one the rules were checked on; keep a `kvtop snapshot --json`",
    )
