"""Why two servers differ, as far as the planner can prove it: one option changed at a time, and planned again."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from kvtop.analysis.diff.comparable import capacity_tokens
from kvtop.domain.launch import LaunchOption, LaunchOptions
from kvtop.domain.plan import MemoryPlan

Replan = Callable[[LaunchOptions], MemoryPlan | None]

_TRIED = 40
"""Options that are tried one by one; two commands that differ in more are simply different."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One side's server with its plan, and how to plan it with other options."""

    launch: LaunchOptions
    plan: MemoryPlan
    replan: Replan


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
    return "" if names else "the options are the same; the model file, the devices or the build differ"


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
