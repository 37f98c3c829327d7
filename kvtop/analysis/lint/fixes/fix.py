"""Fixes as options, so that each can be planned before it is printed, and typed by a test as it is printed."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.analysis.lint.amounts import bits
from kvtop.analysis.lint.families import SENSITIVE_AT_ALL, family_of
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.launch import Origin
from kvtop.planning.commands.launch_command import customary_words

EIGHT_BITS = "q8_0"


@dataclass(frozen=True, slots=True)
class Fix:
    """One way out: options with their new values, None takes one away. `note` is printed right behind the command.

    `cards`: it wants that many cards like the first one.
    """

    changes: tuple[tuple[str, str | None], ...]
    note: str = ""
    cards: int | None = None


Way = Fix | str
"""A fix as options, or in words where it is none."""


def options(note: str = "", **changes: str | None) -> Fix:
    """A fix by options, whose names have underscores for dashes."""
    return Fix(tuple((name.replace("_", "-"), value) for name, value in changes.items()), note)


def cache_types(type_k: str, type_v: str | None = None, note: str = "", **more: str | None) -> Fix:
    """These cache types, V's like K's unless given, with `more` options beside them."""
    return options(note, cache_type_k=type_k, cache_type_v=type_v or type_k, **more)


def safe_type(target: LintTarget) -> str:
    """The cache type that no rule objects to: f16 for families that suffer at 8 bits, else q8_0."""
    return "f16" if family_of(target)[0] in SENSITIVE_AT_ALL else EIGHT_BITS


def smaller_cache(target: LintTarget, note: str = "", **more: str | None) -> tuple[Fix, ...]:
    """Eight bits for both caches, where that saves something and the family stands it."""
    settings = target.llama
    if safe_type(target) != EIGHT_BITS or max(bits(settings.type_k), bits(settings.type_v)) <= bits(EIGHT_BITS):
        return ()
    if not target.caches_tokens:
        return ()
    fused = {"flash_attn": "on"} if settings.flash_attention == "off" else {}
    return (cache_types(EIGHT_BITS, note=note, **more, **fused),)


def spelled(target: LintTarget, fix: Fix) -> str:
    """The fix as a person types it: what to leave out, then what to add."""
    left = " and ".join(left_out(target, name) for name, value in fix.changes if value is None)
    added = shlex.join(customary_words(target.engine, [it for it in fix.changes if it[1] is not None]))
    cards = f" with {fix.cards} such cards" if fix.cards else ""
    return f"{left}{', with ' if left and added else ''}{added}{cards}{fix.note}"


def left_out(target: LintTarget, name: str) -> str:
    """How to take an option away, wherever it was given."""
    option = target.option(name)
    if option is None:
        return f"remove --{name}"
    if option.origin is Origin.ENVIRONMENT:
        return f"unset {option.detail}"
    if option.origin is Origin.FILE:
        return f"take {name} out of {option.detail if '/' in option.detail else 'the configuration file'}"
    if option.origin is Origin.ARGV and option.detail:
        return f"remove {option.detail}"
    return f"remove --{'no-' if option.value == 'false' else ''}{name}"


def any_of(*parts: str) -> str:
    """Alternatives, the empty ones left out."""
    said = [part for part in parts if part]
    return ", or ".join(said) if len(said) < 3 else f"{', '.join(said[:-1])}, or {said[-1]}"


def changes_of(fix: Fix) -> Mapping[str, str | None]:
    """The changes by name."""
    return dict(fix.changes)
