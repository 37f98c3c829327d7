"""The largest `-c` for which everything has room: a binary search over `plan`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvtop.domain.answers.plan_answer import device_fit
from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.bisection import largest
from kvtop.planning.llamacpp.context import sequences_apart
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan

STEP_TOKENS = 256
"""llama.cpp rounds the context of every sequence to this (GGML_PAD, src/llama-context.cpp)."""


@dataclass(frozen=True, slots=True)
class LargestContext:
    """`tokens` for `-c`; 0 where not even the smallest context fits. `is_trained_limit`: memory is not the limit."""

    tokens: int
    is_trained_limit: bool


def largest_context(
    model: PreparedModel,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    rooms: Mapping[str, Room | None],
    draft: PreparedModel | None = None,
) -> LargestContext:
    """The largest context up to the trained one of every sequence that surely fits, estimates at their high end.

    `rooms` are what each device has for it; unknown counts as enough. Raises NoExactRuleError as `plan`.
    """
    step = STEP_TOKENS * sequences_apart(settings)
    most = max(model.hparams.n_ctx_train // STEP_TOKENS, 1)

    def fits(steps: int) -> bool:
        answer = plan(
            model, replace(settings, ctx_tokens=steps * step, kv_unified_per_slot_tokens=None), devices, draft
        )
        if not isinstance(answer, MemoryPlan):
            return False
        held = (device_fit(part, rooms.get(part.name)) for part in answer.devices)
        return all(it.fit in {Fit.FITS, Fit.UNKNOWN} for it in held)

    steps = largest(fits, most)
    return LargestContext(steps * step, steps == most)
