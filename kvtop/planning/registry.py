"""Engines that kvtop plans: one folder each, listed here, and the one question that is asked of all of them.

`kvtop plan`, live servers, what-ifs, rules and comparisons all ask `plan_launch`, so that their numbers cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.protocol.lint_traits import LintTraits
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured
from kvtop.planning.versions import ChosenRange, as_estimate, chosen_range, spanning

if TYPE_CHECKING:  # an engine's rules are imported when it is asked for, and no other's
    from kvtop.planning.protocol.engine_rules import EngineRules, EngineTraits
    from kvtop.planning.protocol.plan_context import PlannableModel

TITLES = {"ollama": "Ollama", "sglang": "SGLang"}
"""What has no memory rules of its own -> how it is written."""

ENGINES = {"llama.cpp": "llamacpp", "vllm": "vllm", "mlx": "mlx"}
"""Engine -> its folder, in the order in which they are asked whether a command is theirs."""


PLANNED = tuple(ENGINES)
_WATCHED = LintTraits()


@lru_cache(maxsize=len(ENGINES))
def _rules(folder: str) -> EngineRules:
    found: EngineRules = import_module(f"kvtop.planning.{folder}.engine").RULES
    return found


def engine_rules(engine: str) -> EngineRules | None:
    """The rules of an engine; None for one that kvtop has no memory rules for."""
    folder = ENGINES.get(engine)
    return None if folder is None else _rules(folder)


def all_engines() -> tuple[EngineRules, ...]:
    """Every engine with rules."""
    return tuple(_rules(folder) for folder in ENGINES.values())


def traits_of(engine: str) -> EngineTraits | None:
    """What is known of an engine with rules; None for any other."""
    rules = engine_rules(engine)
    return None if rules is None else rules.traits


def lint_traits_of(engine: str) -> LintTraits:
    """What lint rules may ask of an engine; of one that is only watched, what is true of any."""
    rules = engine_rules(engine)
    return _WATCHED if rules is None else rules.lint_traits


def display_name(engine: str) -> str:
    """How an engine is written for a person ("vLLM"); an engine without rules keeps its own word."""
    traits = traits_of(engine)
    return TITLES.get(engine, engine) if traits is None else traits.display_name


def plan_launch(
    launch: LaunchOptions,
    model: PlannableModel,
    devices: tuple[PlanDevice, ...],
    *,
    draft: PlannableModel | None = None,
    at_tokens: int | None = None,
    measured: Measured = NOTHING_MEASURED,
) -> MemoryPlan | Refusal:
    """The plan of `launch.engine` with these options, or its refusal in the engine's words.

    `draft` is the second model of a llama-server. `at_tokens` is the length of a sequence where the cache grows.
    `measured` is what a running server says that its engine found out.

    Raises:
        MalformedModelError: the model file contradicts itself or its own architecture.
        NoExactRuleError: there is no exact rule for this engine, model or option.
    """
    if launch.errors:
        return Refusal(launch.engine, launch.errors[0])
    rules = engine_rules(launch.engine)
    if rules is None:
        raise NoExactRuleError(f"kvtop has no memory rules for {launch.engine}")

    def planned(version: str | None) -> MemoryPlan | Refusal:
        other = replace(launch, engine_version=version)
        return rules.plan(other, model, devices, draft=draft, at_tokens=at_tokens, measured=measured)

    plan = planned(launch.engine_version)
    return plan if isinstance(plan, Refusal) else between(launch, plan, planned)


def plan_running(
    launch: LaunchOptions,
    model: PlannableModel,
    devices: tuple[PlanDevice, ...],
    draft: PlannableModel | None,
    measured: Measured = NOTHING_MEASURED,
) -> MemoryPlan | Refusal:
    """The plan of a server that runs: of what it holds at the least, where its cache grows. Raises as `plan_launch`."""
    rules = engine_rules(launch.engine)
    if rules is None:
        raise NoExactRuleError(f"kvtop has no memory rules for {launch.engine}")

    def planned(version: str | None) -> MemoryPlan | Refusal:
        return rules.plan_running(replace(launch, engine_version=version), model, devices, draft, measured)

    plan = planned(launch.engine_version)
    return plan if isinstance(plan, Refusal) else between(launch, plan, planned)


def version_range(launch: LaunchOptions) -> ChosenRange | None:
    """The range of versions whose rules a launch is planned by; None for an engine without rules."""
    traits = traits_of(launch.engine)
    return None if traits is None else chosen_range(traits.versions, launch.engine_version)


def between(launch: LaunchOptions, plan: MemoryPlan, planned: Callable[[str], MemoryPlan | Refusal]) -> MemoryPlan:
    """As `as_valid`; a version between two checked ranges is exact where both agree, and spans both elsewhere.

    `planned` gives the plan of another version. A neighbour that would refuse, or has no rule, settles nothing.
    """
    chosen = version_range(launch)
    if chosen is None or chosen.neighbours is None:
        return as_valid(launch, plan)
    older, newer = chosen.neighbours
    try:
        sides = planned(older.last), planned(newer.first)
    except NoExactRuleError:
        return as_valid(launch, plan)
    if isinstance(sides[0], Refusal) or isinstance(sides[1], Refusal):
        return as_valid(launch, plan)
    return spanning(sides[0], sides[1], plan, chosen.reason)


def as_valid(launch: LaunchOptions, plan: MemoryPlan) -> MemoryPlan:
    """A plan that an engine's own room made: as it is for a version that was checked, an estimate for any other."""
    chosen = version_range(launch)
    return plan if chosen is None or chosen.is_checked else as_estimate(plan, chosen.reason)
