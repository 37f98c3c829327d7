"""Different K and V cache types on a model with latent attention: llama-server refuses to start.

Why: multi-head latent attention (DeepSeek V2, V3 and R1, Kimi K2, GLM 4.7 Flash, DeepSeek V4) keeps one compressed row
per token, and V is a view of K, so both must have one type.

Source: `llama_init_from_model`, src/llama-context.cpp, llama.cpp b11434; run there.

Cost: the server exits with code 1.

Fix: the same type for both, q8_0 at the least.

Fires on: `-ctk q8_0` alone on DeepSeek V3. Quiet on: `-ctk q8_0 -ctv q8_0` there, and mixed types elsewhere.
"""

from kvtop.analysis.lint.amounts import bits, is_quantized
from kvtop.analysis.lint.families import family_of
from kvtop.analysis.lint.fixes.fix import EIGHT_BITS, cache_types
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 16384 -ctk q8_0", gpus=("24GiB",), model="deepseek-v2-lite")
QUIET = Example("llama-server -m MODEL -c 16384 -ctk q8_0 -ctv q8_0", gpus=("24GiB",), model="deepseek-v2-lite")


def check(target: LintTarget) -> Outcome:
    """Needs the model, or a name that leaves no doubt."""
    settings = target.llama
    if settings.type_k == settings.type_v:
        return None
    words = f"model does not support different K ({settings.type_k}) and V ({settings.type_v}) cache types"
    evidence = target.said("cache-type-k", "cache-type-v")
    fix = (cache_types(_both(settings.type_k, settings.type_v)),)
    otherwise = "the same type for both, and room for it"
    hparams = target.hparams
    if hparams is not None:
        if not hparams.is_mla and hparams.arch != "deepseek4":
            return None
        return Found(
            "error",
            f"the engine will not start: {words}",
            f"{evidence}; architecture {hparams.arch} with latent attention",
            "the server does not start",
            fix,
            otherwise,
        )
    family, source = family_of(target)
    if family == "latent attention":
        return Found(
            "error",
            f"by {source} this model has latent attention, and then the engine will not start: {words}",
            f"{evidence}; {source}",
            "the server does not start",
            fix,
            otherwise,
        )
    if family is not None:
        return None
    return Lacks(f"whether the model has latent attention is unknown: {target.model_note}")


def _both(type_k: str, type_v: str) -> str:
    """The saving that was meant, but never below 8 bits: a latent row is not rotated."""
    meant = min((it for it in (type_k, type_v) if is_quantized(it)), key=bits, default=type_k)
    return EIGHT_BITS if is_quantized(meant) and bits(meant) < bits(EIGHT_BITS) else meant
