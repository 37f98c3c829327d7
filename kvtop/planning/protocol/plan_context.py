"""What plans, what-ifs and recommendations share and do not change: the model, the devices, what is free there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kvtop.domain.answers.room import Room
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.plan import PlanDevice
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured


class Prepared:
    """A model as its engine's rules have read it, once for many plans."""

    __slots__ = ()


PlannableModel = GgufHeader | Prepared | Checkpoint
"""A model as its file describes it, or as its engine prepares it for many plans (`EngineRules.prepare`)."""


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What a what-if stands on and does not change: the model, the devices, what is free, what lies beyond the plan.

    `rooms` and `beyond` are by the plan's names of devices ("gpu0", "host"). `held` names those where the room has in
    it what the server holds already: an estimate that stays as it is then cancels out, with all that it may be off.
    `compute_bytes` is what the compute memory of a running server is taken for there, by what is measured or reported.
    """

    model: PlannableModel
    devices: tuple[PlanDevice, ...]
    rooms: Mapping[str, Room | None]
    beyond: Mapping[str, int]
    draft: PlannableModel | None = None
    held: frozenset[str] = frozenset()
    is_restart: bool = False
    """A running server would be started anew: what its engine adjusts by itself when it starts is adjusted."""
    compute_bytes: Mapping[str, int] = field(default_factory=dict)
    measured: Measured = NOTHING_MEASURED
    """Of a running server: what it says that its engine found out."""
