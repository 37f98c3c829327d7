"""What a recommendation may try: the request, and one configuration with the reason to try it.

The candidates themselves are each engine's own, in the order of advice (`EngineRules.candidates`).
"""

from dataclasses import dataclass

from kvtop.domain.answers.evidence import Measurement
from kvtop.domain.answers.recommendation import Requirements
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.protocol.plan_context import PlanContext

STEP_TOKENS = 256
FIRST_STEP = "8 bits for keys and values: the first step down, usually negligible, depending on the model"
"""The reason to try 8 bits, whatever the engine calls them."""


@dataclass(frozen=True, slots=True)
class RecommendRequest:
    """Everything a recommendation stands on.

    `own` are measurements made here. `words` is the command as typed, program first, secrets masked. `version` is the
    engine's, None where nobody knows it. `model` and `architecture` are what the model's file says.
    """

    plan_context: PlanContext
    base: WhatIf
    now: MemoryPlan
    requirements: Requirements
    words: tuple[str, ...]
    model: str
    architecture: str
    trained_tokens: int | None = None
    version: str | None = None
    are_devices_known: bool = True
    own: tuple[Measurement, ...] = ()
    host_bytes_per_second: int | None = None
    """The bandwidth of the host's memory where somebody stated it."""
    is_fitted: bool = False
    """`now` is what the engine's own fit made of `base`, and differs from it."""
    places_model: bool = True
    """Whether candidates may leave a part of the model on the host, or share it out anew."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """`pair` names its cache types as evidence does. `needs_measurement`: offered only with one of this model.

    `placement` says in words where the model lies, "" where the engine puts it by itself when there is room; with
    `uses_host` a part of it that a device could hold is on the host.
    """

    cache: str
    pair: tuple[str, str]
    what_if: WhatIf
    why: str
    needs_measurement: bool = False
    placement: str = ""
    uses_host: bool = False
    alike: str = ""
    """The same for candidates that differ in their placement alone; "" is a kind of its own."""


def reference_reason(request: RecommendRequest) -> str:
    """Why the cache as it is comes first."""
    if request.requirements.context_tokens is None and request.requirements.users is None:
        return "nothing quantized: nothing to lose"
    return "no more context and slots than asked for, and nothing quantized: nothing to lose"
