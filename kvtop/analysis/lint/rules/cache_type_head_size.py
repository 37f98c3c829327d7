"""A quantized cache type whose block does not divide the head: llama-server refuses to start.

Why: a block of 32 values with one scale must not straddle two heads when attention is fused. Heads of 80 or 112 values
are the usual case (Phi-2, some Qwen and Mamba hybrids): 80 is no multiple of 32.

Source: `llama_init_from_model`, src/llama-context.cpp, llama.cpp b11434.

Cost: the server exits with code 1.

Fix: f16 or bf16 for that cache.

Fires on: q8_0 on a model with heads of 80 values. Quiet on: the same with heads of 128.
"""

from kvtop.analysis.lint.amounts import is_quantized
from kvtop.analysis.lint.fixes.fix import cache_types
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 4096 -ctk q8_0 -ctv q8_0", gpus=("24GiB",), model="heads-of-80")
QUIET = Example("llama-server -m MODEL -c 4096 -ctk q8_0 -ctv q8_0", gpus=("24GiB",), model="llama-3.1-8b")
WORDS = "does not divide"


def check(target: LintTarget) -> Outcome:
    """Needs the model's head lengths; the plan's refusal has the engine's words."""
    settings = target.llama
    if settings.flash_attention == "off" or not (is_quantized(settings.type_k) or is_quantized(settings.type_v)):
        return None
    if target.model is None:
        return Lacks(f"the model's head length is unknown: {target.model_note}")
    if WORDS not in target.refusal:
        return None
    return Found(
        "error",
        f"the engine will not start: {target.refusal}",
        evidence=target.said("cache-type-k", "cache-type-v"),
        cost="the server does not start",
        fix=(cache_types("f16"),),
    )
