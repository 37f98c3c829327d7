"""The knobs of a what-if: what each key changes. What a knob does stands in the rooms of the engines (`knobs.py`)."""

from collections.abc import Mapping

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.protocol import knobs
from kvtop.planning.protocol.knobs import Knob
from kvtop.planning.registry import engine_rules

__all__ = ["Knob", "knob_names", "knob_values", "settled", "turn"]


def knob_names(engine: str) -> Mapping[str, str]:
    """Knob -> what it is called for this engine; a knob that it does not have is absent."""
    rules = engine_rules(engine)
    return {} if rules is None else {knob: name for knob, (name, _) in rules.knobs.items()}


def knob_values(what_if: WhatIf, plan: MemoryPlan | None) -> Mapping[str, str]:
    """Knob -> where it stands. `plan` is that of the what-if; None: some values are then unknown."""
    rules = engine_rules(what_if.base.engine)
    return {} if rules is None else rules.knob_values(what_if, plan)


def turn(what_if: WhatIf, plan: MemoryPlan | None, knob: Knob, step: int) -> WhatIf | None:
    """Turn a knob by one `step` (+1 up, -1 down). None: this engine has no such knob, or it is at its end."""
    rules = engine_rules(what_if.base.engine)
    found = None if rules is None else rules.knobs.get(knob.value)
    moved = None if found is None else found[1](what_if, plan, step)
    return None if moved is None else settled(moved, None)


def settled(what_if: WhatIf, now: MemoryPlan | None) -> WhatIf:
    """The same what-if without changes to what holds anyway. `now` is the plan of its base; None: not known."""
    rules = engine_rules(what_if.base.engine)
    return what_if if rules is None else knobs.settled(what_if, now, rules.defaults, rules.settle)
