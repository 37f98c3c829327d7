"""The moves of a what-if: what each key changes, engine by engine. One file an engine, listed here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.adjustments import llamacpp, mlx, vllm
from kvtop.planning.adjustments.defaults import settled


class Knob(StrEnum):
    """One thing that can be turned up and down. Engines give each their own meaning."""

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


@dataclass(frozen=True, slots=True)
class EngineKnobs:
    """The knobs of one engine: what each is called there, and what turning it does. An absent knob does nothing."""

    turns: Mapping[str, tuple[str, Turn]]

    def name(self, knob: Knob) -> str | None:
        """What the knob is called for this engine, or None where it has none."""
        found = self.turns.get(knob.value)
        return None if found is None else found[0]


ENGINES: Mapping[str, EngineKnobs] = {
    "llama.cpp": EngineKnobs(llamacpp.TURNS),
    "vllm": EngineKnobs(vllm.TURNS),
    "mlx": EngineKnobs(mlx.TURNS),
}


def turn(what_if: WhatIf, plan: MemoryPlan | None, knob: Knob, step: int) -> WhatIf | None:
    """Turn a knob by one `step` (+1 up, -1 down). None: this engine has no such knob, or it is at its end."""
    engine = ENGINES.get(what_if.base.engine)
    found = engine.turns.get(knob.value) if engine is not None else None
    moved = None if found is None else found[1](what_if, plan, step)
    return None if moved is None else settled(moved, None)
