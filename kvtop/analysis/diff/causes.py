"""Why two servers differ, as far as the planner can prove it: one option changed at a time, and planned again."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from kvtop.analysis.diff.comparable import capacity_tokens
from kvtop.domain.launch import LaunchOption, LaunchOptions
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured
from kvtop.planning.protocol.version_change import VersionChange
from kvtop.planning.registry import engine_rules

Replan = Callable[[LaunchOptions], MemoryPlan | None]

_SMALL_RATIO = 0.01
_TRIED = 40
"""Options that are tried one by one; two commands that differ in more are simply different."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One side's server with its plan, and how to plan it with other options."""

    launch: LaunchOptions
    plan: MemoryPlan
    replan: Replan
    measured: Measured = NOTHING_MEASURED


def measure_of(plan: MemoryPlan, what: str) -> float | None:
    """A planned number by the name it has in a comparison: a Segment's value, "capacity" or "bytes per token"."""
    if what == "capacity":
        return capacity_tokens(plan)
    if what == "bytes per token":
        return plan.bytes_per_token
    memory = plan.memory.with_output_in_compute()
    return next((figure.value_bytes for segment, figure in memory.parts if segment.value == what), None)


def cause_of(what: str, before: Planned, after: Planned) -> str:
    """The sentence "because …" for one planned number, or "" where the planner does not see it change."""
    start, end = measure_of(before.plan, what), measure_of(after.plan, what)
    if start is None or end is None or start == end:
        return ""
    by_version = _cause_of_version(what, before, after)
    if by_version:
        return by_version
    names = _changed(before.launch, after.launch)
    if len(names) > _TRIED:
        return ""
    alone: list[tuple[str, float]] = []
    for name in names:
        reached = _reached(before, name, after.launch.get(name), what)
        if reached == end:
            return f"because {_words(name, before.launch, after.launch)}"
        if reached is not None and reached != start:
            alone.append((_words(name, before.launch, after.launch), reached))
    # What only shows beside another change shows from the other side.
    for name in names:
        if _reached(after, name, before.launch.get(name), what) == start:
            return f"because {_words(name, before.launch, after.launch)}"
    if alone:
        effects = [f"{words} (alone {_per_cent(reached / start - 1)})" if start else words for words, reached in alone]
        together = f"; together {_per_cent(end / start - 1)}" if start and len(alone) > 1 else ""
        return "because " + " and ".join(effects) + together
    if not names and before.measured != after.measured:
        return "the options are the same; what the engine found out when it started differs"
    return "" if names else "the options are the same; the model file, the devices or the build differ"


def _cause_of_version(what: str, before: Planned, after: Planned) -> str:
    """Which rules of the two versions make the difference, each borrowed alone; "" where none does."""
    one, other = before.launch.engine_version, after.launch.engine_version
    rules = engine_rules(before.launch.engine)
    if one == other or other is None or rules is None or before.launch.engine != after.launch.engine:
        return ""
    start = measure_of(before.plan, what)
    found: list[tuple[VersionChange, float]] = []
    for change in rules.version_changes(one, other):
        plan = before.replan(replace(before.launch, borrowed_rules=((change.name, other),)))
        reached = None if plan is None else measure_of(plan, what)
        if reached is not None and reached != start:
            found.append((change, reached))
    # Rules that move it by less than a hundredth explain nothing beside one that moves it by more.
    large = [it for it in found if not start or abs(it[1] / start - 1) >= _SMALL_RATIO]
    kept = large or found
    effects = [f"{change}: alone {_per_cent(size / start - 1)}" if start else str(change) for change, size in kept]
    return f"because {'; '.join(effects)}" if effects else ""


def _changed(before: LaunchOptions, after: LaunchOptions) -> list[str]:
    names = dict.fromkeys(option.name for option in (*before.options, *after.options))
    return [name for name in names if before.value(name) != after.value(name)]


def _reached(planned: Planned, name: str, option: LaunchOption | None, what: str) -> float | None:
    kept = tuple(it for it in planned.launch.options if it.name != name)
    changed = replace(planned.launch, options=kept if option is None else (*kept, option))
    plan = planned.replan(changed)
    return None if plan is None else measure_of(plan, what)


def _words(name: str, before: LaunchOptions, after: LaunchOptions) -> str:
    first, second = before.value(name), after.value(name)
    return f"{name} {first if first is not None else '(not set)'} → {second if second is not None else '(not set)'}"


def _per_cent(ratio: float) -> str:
    return f"{round(ratio * 100):+d} %"
