"""A draft model has a KV cache of its own, as long as the target's and f16 unless said otherwise.

Why: `-ctk` and `-ctv` do not reach it: `-ctkd` and `-ctvd` do, and default to f16. Its length and slots are the
target's. Prediction heads (`--spec-type draft-mtp`) open a second context too and, on models with state, keep extra
copies.

Source: common/speculative.cpp, llama.cpp b11434; issue 11200.

Cost: computed: the draft's cache.

Fix: count it; `-ctkd q8_0 -ctvd q8_0` halves it, a shorter `-c` cuts both.

Fires on: `-md`. Quiet on: no draft, drafts by lookup (ngram), which have no cache, and types of its own for
its cache.
"""

from kvtop.analysis.lint.amounts import exact, is_quantized, part_bytes
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example(
    "llama-server -m MODEL -md DRAFT -c 32768 -ctk q8_0 -ctv q8_0",
    gpus=("48GiB",),
    model="qwen3-32b",
    draft="qwen3-8b",
)
QUIET = Example("llama-server -m MODEL -c 32768 --spec-type ngram-mod", gpus=("48GiB",), model="qwen3-32b")


def drafts(target: LintTarget) -> bool:
    """Whether a second context drafts tokens."""
    named = target.value("spec-draft-model") or target.value("spec-draft-hf")
    return bool(named) or any(kind.startswith("draft-") for kind in target.llama.speculative_types)


def check(target: LintTarget) -> Outcome:
    """Needs only the options; the draft's file gives the bytes."""
    settings = target.llama
    if not drafts(target):
        return None
    if target.option("spec-draft-type-k") and target.option("spec-draft-type-v"):
        return None  # its types were chosen
    cost = ""
    if target.plan is not None:
        size = part_bytes(target.plan, "draft")
        cost = f"{exact(size)} of draft cache" if size else ""
    forgotten = is_quantized(settings.type_v) and not is_quantized(settings.draft_type_v)
    kinds = f"{settings.draft_type_k}/{settings.draft_type_v}"
    return Found(
        "warning" if forgotten else "info",
        f"the draft has a cache of its own, as long as the target's, in {kinds}"
        + (": -ctk and -ctv do not reach it" if forgotten else ""),
        evidence=target.said("spec-draft-model", "spec-draft-hf", "spec-type", "cache-type-k", "cache-type-v"),
        cost=cost,
        fix=(options(spec_draft_type_k="q8_0", spec_draft_type_v="q8_0"), "a shorter -c, which cuts both caches"),
    )
