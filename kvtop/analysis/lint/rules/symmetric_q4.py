"""Four bits for keys and values: a last resort, to be measured on this model first.

Why: what it costs spans three orders of magnitude: divergence 0.005 on Qwen3.5 9B, 1.09 on Gemma 4 26B, 5.5 (nonsense)
on Qwen2.5 7B. Long documents and tool calls fail first. It is a warning where harm was measured on this model or is
known of its family, else an info.

Source: llama.cpp discussion 23470 and PR 21038, localbench, LMDeploy issue 4743; figures with the rotation that is on
by default since April 2026.

Cost: quality. It saves 72 % of the cache, q8_0 saves 47 %.

Fix: q8_0 for both; before that less context, fewer slots or smaller weights. Measure with `llama-perplexity
--kl-divergence` on your own prompts.

Fires on: q4_0 for both. Quiet on: q8_0 for both.
"""

from kvtop.analysis.lint.amounts import bits, saved_words
from kvtop.analysis.lint.evidence_text import evidence_text, is_harm_measured
from kvtop.analysis.lint.families import family_of
from kvtop.analysis.lint.fixes.fix import cache_types, safe_type
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 32768 -ctk q4_0 -ctv q4_0", gpus=("24GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -c 32768 -ctk q8_0 -ctv q8_0", gpus=("24GiB",), model="llama-3.1-8b")
FEW_BITS = 5.0


def check(target: LintTarget) -> Outcome:
    """Needs only the types; the model makes it milder or gives the bytes."""
    settings = target.llama
    kinds = settings.type_k, settings.type_v
    if max(map(bits, kinds)) > FEW_BITS:
        return None
    if not target.caches_tokens:
        return None
    cost = "quality"
    wider = target.plan_with(cache_type_k="q8_0", cache_type_v="q8_0")
    if wider is not None and target.plan is not None:
        cost = f"quality, for {saved_words(wider, target.plan)} less than q8_0 for both"
    mild = target.hparams is not None and target.hparams.traits.is_hybrid
    spread = (
        "hybrids with few attention layers lost little where it was measured"
        if mild
        else "what it costs goes from nothing to nonsense with the model"
    )
    return Found(
        "warning" if family_of(target)[0] is not None or is_harm_measured(target, *kinds) else "info",
        f"keys and values both have about 4 bits: {spread}, so measure it on this model first",
        evidence="; ".join(
            part
            for part in (
                target.said("cache-type-k", "cache-type-v"),
                evidence_text(target, *kinds),
            )
            if part
        ),
        cost=cost,
        fix=(cache_types(safe_type(target)),),
        otherwise=f"{safe_type(target)} for both caches, once a shorter -c makes room for it",
    )
