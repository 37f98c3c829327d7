"""One server on one device, before it is divided: what was measured, what was computed, what the engine reports."""

from dataclasses import dataclass

from kvtop.analysis.attribution.splits import Runtime
from kvtop.domain.device import DeviceState
from kvtop.domain.figure import Figure
from kvtop.domain.memory import Memory


@dataclass(frozen=True, slots=True)
class Observation:
    """`name` is what the plan calls the device; `state` None: nobody measures it.

    `engine_index` is the engine of a data-parallel server whose rank is here, None where no accelerator is. `planned`
    and `reported` are None where nothing was computed, and where the engine says nothing; what it says is rounded to
    `rounding_bytes`. `is_idle_host`: its model lies on an accelerator, not here.
    """

    device_id: str
    runtime: Runtime
    name: str
    driver: Figure
    planned: Memory | None
    reported: Memory | None
    state: DeviceState | None
    engine_index: int | None = None
    rounding_bytes: int = 0
    is_idle_host: bool = False
