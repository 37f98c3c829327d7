"""A quantized cache on a model family that is known to suffer from it.

Why: Gemma 4 and gpt-oss change measurably even at 8 bits (divergence 0.108 to 0.377 on Gemma 4; 74.9 % same top token
on gpt-oss 20B), while their sliding windows make the saving small. Qwen2 and Qwen2.5 have extreme key biases in the
first and last layer: below 8 bits for keys they print nonsense. Latent caches (DeepSeek, Kimi K2) are not rotated on
the classic path and stay good down to 8 bits only.

Source: localbench and llama.cpp PR 21038 (Gemma 4, gpt-oss), llama.cpp discussion 23470 and issue 21385 (Qwen2.5),
`llm_graph_input_attn_k` of llama.cpp b11434 (latent caches).

Cost: quality; what it saves is in the finding.

Fix: f16 (Gemma 4, gpt-oss), q8_0 for keys (Qwen2.5), q8_0 (latent attention).

Fires on: q4_0 keys on Qwen2.5. Quiet on: q8_0 there, and q4_0 on other families.
"""

from kvtop.analysis.lint.amounts import bits, is_quantized, saved_words
from kvtop.analysis.lint.evidence_text import evidence_text
from kvtop.analysis.lint.families import SENSITIVE_AT_ALL, family_of
from kvtop.analysis.lint.fixes.fix import cache_types
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 16384 -ctk q4_0 -ctv q4_0", gpus=("24GiB",), model="qwen2.5-7b")
QUIET = Example("llama-server -m MODEL -c 16384 -ctk q8_0 -ctv q8_0", gpus=("24GiB",), model="qwen2.5-7b")


def check(target: LintTarget) -> Outcome:
    """Needs the model, or a name that leaves no doubt."""
    settings = target.llama
    kinds = settings.type_k, settings.type_v
    if not any(map(is_quantized, kinds)):
        return None
    family, source = family_of(target)
    if family is None:
        if target.hparams is not None or target.header is not None:
            return None
        return Lacks(f"the model's family is unknown: {target.model_note}")
    if family not in SENSITIVE_AT_ALL and bits(settings.type_k) >= 8:
        return None
    better = "f16" if family in SENSITIVE_AT_ALL else "q8_0"
    plain = target.plan_with(cache_type_k=better, cache_type_v=better)
    cost = "quality"
    if plain is not None and target.plan is not None:
        cost = f"quality, for {saved_words(plain, target.plan)} less than {better}"
    return Found(
        "warning",
        f"{family}: {_why(family)}",
        evidence="; ".join(
            part
            for part in (
                target.said("cache-type-k", "cache-type-v"),
                source,
                evidence_text(target, settings.type_k, settings.type_v),
            )
            if part
        ),
        cost=cost,
        fix=(cache_types(better),),
        otherwise=f"{better} for both caches, once a shorter -c makes room for it",
    )


def _why(family: str) -> str:
    if family == "Qwen2/2.5":
        return "keys below 8 bits break this family (its key biases are extreme)"
    if family == "latent attention":
        return "the one latent row is not rotated, and measured well down to 8 bits only"
    return "a quantized cache changes its output measurably even at 8 bits"
