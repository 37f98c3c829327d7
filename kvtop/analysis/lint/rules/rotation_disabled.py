"""The rotation of quantized caches is switched off: quality is lost, and nothing is gained.

Why: since April 2026 llama.cpp rotates quantized keys and values (Hadamard) so that outliers do not ruin a block. It is
on by default where the head length is a multiple of 64; `LLAMA_ATTN_ROT_DISABLE=1` turns it off and costs divergence
(q4_0 for both: 0.139 without, 0.117 with, on Gemma 3 270M).

Source: llama.cpp PR 21038, src/llama-kv-cache.cpp at b11434; own run.

Cost: quality. The rotation takes less than 1 MiB and a few per cent of speed.

Fix: unset `LLAMA_ATTN_ROT_DISABLE`.

Fires on: the variable set with a quantized cache. Quiet on: the same with f16, where nothing is rotated.
"""

from kvtop.analysis.lint.amounts import is_quantized
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -ctk q8_0 -ctv q8_0", environ=(("LLAMA_ATTN_ROT_DISABLE", "1"),))
QUIET = Example("llama-server -m MODEL", environ=(("LLAMA_ATTN_ROT_DISABLE", "1"),))
VARIABLE = "LLAMA_ATTN_ROT_DISABLE"


def check(target: LintTarget) -> Outcome:
    """Needs the environment and the types. The engine reads the variable as a number: 0 is off."""
    settings = target.llama
    if not (is_quantized(settings.type_k) or is_quantized(settings.type_v)):
        return None
    value = target.variable(VARIABLE)
    if value is None:
        return Lacks("the environment of this server cannot be read") if _is_hidden(target) else None
    if value.strip() in {"", "0"} or not value.strip().lstrip("+-").isdecimal():
        return None
    return Found(
        "warning",
        "quantized keys and values are stored without rotation, which the engine would do by default",
        evidence=f"{VARIABLE}={value}; {target.said('cache-type-k', 'cache-type-v')}",
        cost="quality; it saves less than 1 MiB",
        fix=f"unset {VARIABLE}",
    )


def _is_hidden(target: LintTarget) -> bool:
    """A running server whose environment may not be read."""
    return target.where.environ is None
