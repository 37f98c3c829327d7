"""What can be adjusted in a what-if, whatever the engine: each engine gives every knob its own meaning, or none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import Origin
from kvtop.domain.plan import MemoryPlan

MOST_TOKENS = 1 << 26
"""More than any model was trained for: where turning a length up ends."""


class Knob(StrEnum):
    """One thing that can be stepped up and down."""

    TYPE_K = "type_k"
    TYPE_V = "type_v"
    CONTEXT = "context"
    CONTEXT_FINE = "context_fine"
    SLOTS = "slots"
    UNIFIED = "unified"
    BATCH = "batch"
    FLASH = "flash"


Turn = Callable[[WhatIf, MemoryPlan | None, int], WhatIf | None]
"""(what-if so far, plan of it, +1 or -1) -> the next one; None where the engine's own limit is met."""


def drop(kept: dict[str, str | None], name: str, value: str) -> None:
    """Forget a change that sets what holds already."""
    if kept.get(name) == value:
        del kept[name]


def settled(
    what_if: WhatIf, now: MemoryPlan | None, defaults: Mapping[str, str], settle: Callable[..., None]
) -> WhatIf:
    """The same what-if without changes to what holds anyway, by an engine's `defaults` and `settle` (EngineRules).

    `now` is the plan of its base; None: not known.
    """
    kept = {
        name: value
        for name, value in what_if.changes
        if value is None or what_if.base.get(name) is not None or defaults.get(name) != value
    }
    if now is not None:
        settle(kept, what_if.base, now)
    return replace(what_if, changes=()).with_changes(**kept)


def unset(what_if: WhatIf, name: str, defaults: Mapping[str, str]) -> str | None:
    """The change that gives an option its default: none at all, or its value spelled out.

    Only what stands in the command can be taken out of it; an environment or a file would go on saying otherwise.
    """
    said = what_if.base.get(name)
    return None if said is None or said.origin is Origin.ARGV else defaults.get(name)


def around(ring: Sequence[str], at: str, step: int) -> str:
    """The next word of a ring; a word that is not in it steps in at its beginning or end."""
    if at not in ring:
        return ring[0] if step > 0 else ring[-1]
    return ring[(ring.index(at) + step) % len(ring)]


def doubled(at: int, step: int) -> int:
    """Twice or half of it."""
    return at * 2 if step > 0 else at // 2


def finer(at: int, step: int, grain: int) -> int:
    """An eighth of the next lower power of two more or less, on multiples of `grain`."""
    size = max(grain, 1 << max((at.bit_length() - 4), 0))
    moved = at + step * size
    return max(moved // size * size, grain)
