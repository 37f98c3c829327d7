"""A cache type that llama-server does not have: it refuses to start.

Why: nine types may hold a KV cache: f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1. Weight formats such as q6_k
or iq3_xs are none of them; turbo3, tbq and the like belong to forks.

Source: `kv_cache_types`, common/arg.cpp, llama.cpp b11434; run there.

Cost: the server exits with code 1.

Fix: the next type above it: q5_1 for q5_k, otherwise q8_0.

Fires on: `-ctk q6_k`. Quiet on: `-ctk q5_1`.
"""

from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.options.refused_types import WORDS, refused_types

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = False
FIRES = Example("llama-server -m MODEL -ctk q6_k -ctv q6_k")
QUIET = Example("llama-server -m MODEL -ctk q5_1 -ctv q5_1")


def check(target: LintTarget) -> Outcome:
    """Reads the engine's own complaints."""
    refused = refused_types(target.complaints)
    if not refused:
        return None
    kinds = " and ".join(repr(kind) for kind in dict.fromkeys(it.kind for it in refused))
    fix = " ".join(dict.fromkeys(it.fix for it in refused))
    if all(it.kind.strip().lower() in CACHE_TYPES for it in refused):
        fix += " (small letters)"
    return Found(
        "error",
        f"{kinds} is no KV cache type of llama-server (there are: {', '.join(CACHE_TYPES)})",
        evidence="; ".join(it for it in target.complaints if WORDS in it),
        cost="the server does not start",
        fix=fix,
    )
