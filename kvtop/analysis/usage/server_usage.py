"""How one server is used over time: what is forecast, the room it has, and the verdict on both."""

from dataclasses import dataclass, field

from kvtop.analysis.attribution.device_assignment import DeviceAssignment
from kvtop.analysis.usage.first_token import FirstToken
from kvtop.analysis.usage.forecast import Forecast
from kvtop.analysis.usage.growth import Watched, held_memory, memory_to_full
from kvtop.analysis.usage.request_room import request_room
from kvtop.analysis.usage.steady_verdict import SteadyVerdict
from kvtop.domain.headroom import Filling, Headroom, TimeToFull, Verdict
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.server import ServerReading


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is said of a server at one tick."""

    filling: TimeToFull
    headroom: Headroom
    verdict: Verdict
    first_token_seconds: float | None


@dataclass(slots=True)
class ServerUsage:
    """What is remembered of one server between ticks."""

    forecast: Forecast = field(default_factory=Forecast)
    memory: Watched = field(default_factory=Watched)
    first_token: FirstToken = field(default_factory=FirstToken)
    verdict: SteadyVerdict = field(default_factory=SteadyVerdict)

    def outlook(
        self, taken_at: float, reading: ServerReading, plan: MemoryPlan | None, where: DeviceAssignment
    ) -> Outlook:
        """Of this reading, after those before it."""
        devices = tuple(device for device, _ in where.rows)
        filling = self.forecast.now(taken_at, reading, plan)
        if filling.state is Filling.UNKNOWN and filling.tokens_left is None:
            self.memory.add(taken_at, held_memory(reading, where.rows))
            filling = memory_to_full(self.memory, reading, plan, devices)
        # Free bytes of the devices that matter to it: its accelerators, or the host where it has none.
        free = tuple((device.id, device.memory.free_bytes) for device in where.accelerators or devices)
        headroom = Headroom(filling.tokens_left, free, *request_room(reading, plan))
        return Outlook(
            filling,
            headroom,
            self.verdict.now(taken_at, reading, filling, headroom, devices),
            self.first_token.mean_seconds(taken_at, reading.counters),
        )
