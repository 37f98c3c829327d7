"""Fixes as words to type, so that one rule's advice is no other rule's alarm."""

from kvtop.analysis.lint.amounts import bits
from kvtop.analysis.lint.families import SENSITIVE_AT_ALL, family_of
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.launch import Origin
from kvtop.domain.plan import MemoryPlan

EIGHT_BITS = "q8_0"


def cache_types(type_k: str, type_v: str | None = None) -> str:
    """The options of these cache types, V's like K's unless given."""
    return f"--cache-type-k {type_k} --cache-type-v {type_v or type_k}"


def safe_type(target: LintTarget) -> str:
    """The cache type that no rule objects to: f16 for families that suffer at 8 bits, else q8_0."""
    return "f16" if family_of(target)[0] in SENSITIVE_AT_ALL else EIGHT_BITS


def smaller_cache(target: LintTarget) -> str:
    """Eight bits for both caches where that saves something, the engine takes it and the family stands it; else ""."""
    settings = target.llama
    if safe_type(target) != EIGHT_BITS or max(bits(settings.type_k), bits(settings.type_v)) <= bits(EIGHT_BITS):
        return ""
    if not target.caches_tokens:
        return ""
    if target.plan is not None:
        answer = target.answer_with(cache_type_k=EIGHT_BITS, cache_type_v=EIGHT_BITS, flash_attn=None)
        if not isinstance(answer, MemoryPlan):
            return ""
    needs = " --flash-attn on" if settings.flash_attention == "off" else ""
    return cache_types(EIGHT_BITS) + needs


def left_out(target: LintTarget, name: str) -> str:
    """How to take an option away, wherever it was given."""
    option = target.option(name)
    if option is None:
        return f"leave --{name} out"
    if option.origin is Origin.ENVIRONMENT:
        return f"unset {option.detail}"
    if option.origin is Origin.FILE:
        return f"take {name} out of {option.detail if '/' in option.detail else 'the configuration file'}"
    if option.origin is Origin.ARGV and option.detail:
        return f"leave {option.detail} out"
    return f"leave --{'no-' if option.value == 'false' else ''}{name} out"


def any_of(*parts: str) -> str:
    """Alternatives, the empty ones left out."""
    said = [part for part in parts if part]
    return ", or ".join(said) if len(said) < 3 else f"{', '.join(said[:-1])}, or {said[-1]}"
