"""The engine would not start with this command line, for a reason that no other rule covers.

Why: unknown options, values out of range and combinations that the engine checks when it builds the model all end the
process before it serves anything. The words are the engine's own.

Source: common/arg.cpp and src/llama-context.cpp of llama.cpp b11434, vLLM 0.32.0, mlx-lm 0.32.2; another version may
know an option that this one does not, and the other way round.

Cost: the server does not start.

Fix: follows from the words; `--help` of the engine lists what it takes.

Fires on: an option that llama-server does not have. Quiet on: the same without it.
"""

from kvtop.analysis.lint.fixes.fix import Fix, Way
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome, RuleModule
from kvtop.analysis.lint.rules import (
    bare_flash_attn_flag,
    cache_type_head_size,
    device_overcommitted,
    fp8_cache_unsupported_gpu,
    memory_utilization_risky,
    mla_cache_types_differ,
    pool_below_one_request,
    quantized_v_without_flash_attention,
)
from kvtop.analysis.lint.target import LintTarget
from kvtop.planning.llamacpp.options.refused_types import WORDS as UNSUPPORTED_TYPE
from kvtop.planning.registry import PLANNED
from kvtop.planning.vllm.pool.free_memory import WORDS as LITTLE_FREE

ENGINES = PLANNED
READS_LAUNCH = False
FIRES = Example("llama-server -m MODEL --draft-model DRAFT")
QUIET = Example("llama-server -m MODEL -md DRAFT", gpus=("48GiB",), model="qwen3-32b", draft="qwen3-8b")
TOLD_BY: tuple[tuple[str, RuleModule], ...] = (
    ("requires flash_attn to be enabled", quantized_v_without_flash_attention),
    (cache_type_head_size.WORDS, cache_type_head_size),
    ("does not support different K", mla_cache_types_differ),
    (pool_below_one_request.WORDS, pool_below_one_request),
    (LITTLE_FREE, memory_utilization_risky),
    ("No available memory for the cache blocks", pool_below_one_request),
    ("No available memory for the cache blocks", device_overcommitted),
    *((words, fp8_cache_unsupported_gpu) for words in fp8_cache_unsupported_gpu.REFUSALS),
)
"""Refusals of options and model together by their words, and the rule that reports them where it fires."""
HELP = "see the engine's --help; checked against {}"


def check(target: LintTarget) -> Outcome:
    """The first complaint that is not another rule's; then the refusal of options and model together."""
    own = [it for it in target.complaints if not _complaint_told(it)]
    words = own[0] if own else target.refusal
    if not words and not target.complaints and _is_unasked(target):
        return Lacks(f"whether the engine takes these options together is unknown: {target.plan_note}")
    if not words or (not own and (_refusal_told(target) or _is_about_request(target))):
        return None
    version = target.traits.title
    return Found(
        "error",
        f"{version} would not start: {words}",
        evidence=words,
        cost="the server does not start",
        fix=(_remedy(target, words) or HELP.format(version),),
        otherwise=HELP.format(version),
    )


def _is_unasked(target: LintTarget) -> bool:
    """A running server has been asked by its own engine, and some look at no model before they start."""
    return target.plan is None and target.observed is None and target.traits.checks_model


def _complaint_told(words: str) -> bool:
    return bare_flash_attn_flag.is_bare(words) or UNSUPPORTED_TYPE in words


def _refusal_told(target: LintTarget) -> bool:
    """Whether the rule that knows these words really says them: a refusal must never be lost between two rules."""
    return any(isinstance(rule.check(target), Found) for words, rule in TOLD_BY if words in target.refusal)


def _is_about_request(target: LintTarget) -> bool:
    """Of an engine that starts with anything, its plan refuses requests, and that has rules of its own."""
    return not target.traits.checks_model and not target.complaints


def _remedy(target: LintTarget, words: str) -> Way:
    """By the engine's words."""
    known = "" if target.launch is None else target.traits.remedy(target.launch, words)
    return known if isinstance(known, str) else Fix(known)
