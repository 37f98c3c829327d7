"""The KV cache is nearly full, or will be within minutes.

Why: a full slot of llama-server ends its request (or shifts the context, if that is on); a full pool of vLLM preempts
requests. A time is said where running answers have come further than the others did and nothing ends them before,
or where peaks have risen for a while.

Source: tools/server/server-context.cpp, llama.cpp b11434; vLLM 0.32.0 docs configuration/optimization.

Cost: requests that are cut or computed again.

Fix: a larger context or pool, fewer requests at once, or a quantized cache.

Fires on: a pool that is 97 % full. Quiet on: one that is half full and steady.
"""

from kvtop.analysis.lint.fixes.capacity import context_capacity_fix, pool_capacity_fix
from kvtop.analysis.lint.fixes.fix import Way
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.planning.protocol.lint_traits import CacheProvision
from kvtop.text import countdown_text

ENGINES: tuple[str, ...] = ()
READS_LAUNCH = False
FIRES = Example("llama-server -m MODEL", observed=Observed(used_ratio=0.97, seconds_to_full=90.0, filling="slot 2"))
QUIET = Example("llama-server -m MODEL", observed=Observed(used_ratio=0.5))
FULL_RATIO = 0.9
SOON_SECONDS = 300.0


def check(target: LintTarget) -> Outcome:
    """Needs a running server that says how full it is."""
    seen = target.observed
    if seen is None:
        return Lacks("needs a running server")
    if seen.used_ratio is None and seen.seconds_to_full is None:
        return Lacks("how full the cache is, is unknown")
    soon = seen.seconds_to_full is not None and seen.seconds_to_full < SOON_SECONDS
    if not soon and (seen.used_ratio or 0) < FULL_RATIO:
        return None
    when = ""
    if seen.seconds_to_full is not None:
        when = f"{seen.filling or 'the pool'} is full in {countdown_text(seen.seconds_to_full)}"
    ratio = "" if seen.used_ratio is None else f"{seen.used_ratio:.0%} of the cache is used"
    state = "is nearly full" if (seen.used_ratio or 0) >= FULL_RATIO else "is filling up"
    return Found(
        "warning",
        f"the KV cache {state}: {', '.join(part for part in (ratio, when) if part)}",
        evidence=ratio or when,
        cost="requests that are cut or computed again",
        fix=_fix(target, seen),
    )


def _fix(target: LintTarget, seen: Observed) -> str | tuple[Way, ...]:
    if target.traits.cache is CacheProvision.POOL:
        return pool_capacity_fix(target, seen)
    if target.settings is not None:
        return context_capacity_fix(target)
    return "a larger context or pool, or fewer requests at once"
