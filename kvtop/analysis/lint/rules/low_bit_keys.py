"""Fewer bits for keys than for values: the same bytes the other way round lose less.

Why: an error in a key goes through the softmax, an error in a value is averaged. Every measurement found has keys as
the sensitive side: K=q4_0 alone costs 6.6 times the divergence of V=q4_0 alone on a 7B model (0.0329 and 0.0050), and
q4_0/q8_0 against q8_0/q4_0 costs +6.06 % and +0.86 % perplexity on TinyLlama. Advice to the contrary is in circulation.

Source: llama.cpp PR 7412; KVSplit; mlx-lm PR 1550; own run on Gemma 3 270M with llama.cpp b11434 (8.5 times).

Cost: quality; no bytes.

Fix: swap the types, or q8_0 for both: mixed types are slow on most backends.

Fires on: `-ctk q4_0 -ctv q8_0`. Quiet on: `-ctk q8_0 -ctv q4_0`, and on keys of 8 bits, where nothing is measurable.
"""

from kvtop.analysis.lint.amounts import bits
from kvtop.analysis.lint.evidence_text import evidence_text
from kvtop.analysis.lint.families import family_of
from kvtop.analysis.lint.fixes.fix import cache_types, safe_type
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -ctk q4_0 -ctv q8_0 -fa on")
QUIET = Example("llama-server -m MODEL -ctk q8_0 -ctv q4_0 -fa on")
FREE_BITS = 8.0
LEAST_DIFFERENCE = 1.0


def check(target: LintTarget) -> Outcome:
    """Needs only the types; a latent cache has no values."""
    settings = target.llama
    type_k, type_v = settings.type_k, settings.type_v
    if bits(type_k) >= FREE_BITS or bits(type_v) - bits(type_k) < LEAST_DIFFERENCE:
        return None
    if not target.caches_tokens or family_of(target)[0] == "latent attention":
        return None
    fused = {"flash_attn": "on"} if settings.flash_attention == "off" else {}
    both = safe_type(target) if bits(type_v) >= FREE_BITS else type_v
    cost = ""
    turned = target.plan_with(cache_type_k=type_v, cache_type_v=type_k, flash_attn="on")
    if turned is not None and target.plan is not None:
        here, there = (sum(part.size_bytes for part in plan.cache_parts) for plan in (target.plan, turned))
        cost = f"quality, with nothing gained: {here} bytes of cache this way round, {there} the other"
    return Found(
        "warning",
        f"keys have {bits(type_k):g} bits and values {bits(type_v):g}: keys are the sensitive side, so the other way "
        "round loses less",
        evidence="; ".join(
            part
            for part in (target.said("cache-type-k", "cache-type-v"), evidence_text(target, type_k, type_v))
            if part
        ),
        cost=cost or "quality, and no bytes saved by it",
        fix=(
            cache_types(type_v, type_k, **fused),
            cache_types(both, note=", which is also faster on most backends", **fused),
        ),
    )
