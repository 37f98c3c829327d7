"""A cache type that llama-server does not have: it refuses to start.

Why: nine types may hold a KV cache: f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1. Weight formats such as q6_k
or iq3_xs are none of them; turbo3, tbq and the like belong to forks.

Source: `kv_cache_types`, common/arg.cpp, llama.cpp b11434; run there.

Cost: the server leaves with exit code 1.

Fix: the next type above it: q8_0, q5_1 or q4_0.

Fires on: `-ctk q6_k`. Quiet on: `-ctk q5_1`.
"""

from kvtop.analysis.ruling import Example, Found, Outcome
from kvtop.analysis.subject import Subject
from kvtop.planning.cache_types import CACHE_TYPES

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = False
FIRES = Example("llama-server -m MODEL -ctk q6_k -ctv q6_k")
QUIET = Example("llama-server -m MODEL -ctk q5_1 -ctv q5_1")
WORDS = "Unsupported cache type: "


def check(subject: Subject) -> Outcome:
    """Reads the engine's own complaint."""
    for complaint in subject.complaints:
        _, found, kind = complaint.partition(WORDS)
        if found:
            return Found(
                "error",
                f"{kind!r} is no KV cache type of llama-server (there are: {', '.join(CACHE_TYPES)})",
                evidence=complaint,
                cost="the server does not start",
                fix=f"{_replacement(kind)} instead of {kind}",
            )
    return None


def _replacement(kind: str) -> str:
    lower = kind.lower()
    if lower in CACHE_TYPES:
        return f"{lower}, in small letters,"
    if any(digit in lower for digit in ("8", "6", "7")):
        return "q8_0"
    return "q5_1" if "5" in lower else "q8_0 or q4_0"
