"""What a running server holds beyond its plan, remembered while it runs."""

from dataclasses import dataclass, field

from kvtop.analysis.attribution.observation import Observation
from kvtop.domain.device import DeviceState
from kvtop.domain.headroom import Calibration
from kvtop.domain.memory import Segment
from kvtop.domain.server import ServerReading, ServerState

_Key = tuple[str, str | None, tuple[int, ...]]


@dataclass(slots=True)
class Calibrations:
    """By server, build and processes: a restarted server or another build starts anew."""

    known: dict[_Key, dict[str, Calibration]] = field(default_factory=dict)

    def learn(self, reading: ServerReading, measured: tuple[Observation, ...]) -> tuple[Calibration, ...]:
        """Take in what is measured now; what could not be measured this time keeps its last value.

        A server that loads or sleeps does not hold its plan, and a device that does not answer tells the past.
        """
        own = self.known.setdefault((reading.id, reading.version, reading.pids), {})
        if reading.state in {ServerState.READY, ServerState.LOCKED}:
            for it in measured:
                beyond = _beyond(it)
                if beyond is not None and it.state is DeviceState.OK:
                    own[it.device_id] = Calibration(it.device_id, beyond)
        return tuple(own.values())

    def forget_all_but(self, readings: tuple[ServerReading, ...]) -> None:
        """Servers that are gone leave nothing behind."""
        alive = {(reading.id, reading.version, reading.pids) for reading in readings}
        for key in set(self.known) - alive:
            del self.known[key]


def _beyond(it: Observation) -> int | None:
    """Measured total less everything computed; None where either is not known whole.

    The estimate of compute is the plan's own, uncut: a new plan will have the same, and only the difference counts. So
    it may be less than nothing, by what the estimate may be too high; pages that are allocated and not resident yet are
    no reason to expect less of a new plan.
    """
    if it.planned is None or it.driver.value_bytes is None:
        return None
    planned, compute = it.planned.total, it.planned[Segment.COMPUTE]
    if planned.value_bytes is None:
        return None
    too_high = (compute.value_bytes or 0) - compute.least_bytes
    return max(it.driver.value_bytes - planned.value_bytes, -too_high)
