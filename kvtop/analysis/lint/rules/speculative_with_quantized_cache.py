"""Speculative decoding with a quantized cache: right results, but fewer drafts may be accepted.

Why: the target verifies against its own (quantized) cache, so output stays exact for that target; what can fall is the
share of accepted drafts, and with it the speed-up (0.725 -> 0.630 in one measurement). Quantized draft caches have had
bugs as well.

Source: vLLM issue 55557; llama.cpp issue 25725 (DFlash, closed; b11434 has the fix); common/speculative.cpp.

Cost: speed; compare accepted and drafted tokens in /metrics with and without.

Fix: measure both; f16 for the smaller, the draft's, cache first.

Fires on: `-md` with `-ctk q8_0 -ctv q8_0`. Quiet on: `-md` with f16, and a quantized cache without drafts.
"""

from kvtop.analysis.lint.amounts import is_quantized
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.rules.draft_cache_uncounted import drafts
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -md DRAFT -c 8192 -ctk q8_0 -ctv q8_0")
QUIET = Example("llama-server -m MODEL -md DRAFT -c 8192")

COMPARED = "a comparison with f16, to keep what is faster"


def check(target: LintTarget) -> Outcome:
    """Needs only the options."""
    settings = target.llama
    if not drafts(target):
        return None
    own = is_quantized(settings.type_k) or is_quantized(settings.type_v)
    draft = is_quantized(settings.draft_type_k) or is_quantized(settings.draft_type_v)
    if not own and not draft:
        return None
    which = "both caches are" if own and draft else "the target's cache is" if own else "the draft's cache is"
    return Found(
        "info",
        f"drafts are verified while {which} quantized: results stay those of the target, but fewer drafts may be "
        "accepted",
        evidence=target.said(
            "spec-draft-model", "spec-draft-hf", "spec-type", "cache-type-k", "cache-type-v", "spec-draft-type-k"
        ),
        cost="speed: measure the share of accepted drafts in /metrics with and without",
        fix=(options(spec_draft_type_k="f16", spec_draft_type_v="f16"), COMPARED) if draft and not own else COMPARED,
    )
