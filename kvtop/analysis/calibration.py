"""What a running server holds beyond its plan, remembered while it runs."""

from dataclasses import dataclass, field

from kvtop.domain.frame import Split
from kvtop.domain.headroom import Calibration
from kvtop.domain.server import ServerReading

_Key = tuple[str, str | None, tuple[int, ...]]


@dataclass(slots=True)
class Calibrations:
    """By server, build and processes: a restarted server or another build starts anew."""

    known: dict[_Key, dict[str, Calibration]] = field(default_factory=dict)

    def learn(self, reading: ServerReading, splits: tuple[Split, ...]) -> tuple[Calibration, ...]:
        """Take in what is measured now; what could not be measured this time keeps its last value."""
        own = self.known.setdefault((reading.id, reading.version, reading.pids), {})
        for split in splits:
            beyond = _beyond(split)
            if beyond is not None:
                own[split.device_id] = Calibration(split.device_id, beyond)
        return tuple(own.values())

    def forget_all_but(self, readings: tuple[ServerReading, ...]) -> None:
        """Servers that are gone leave nothing behind."""
        alive = {(reading.id, reading.version, reading.pids) for reading in readings}
        for key in set(self.known) - alive:
            del self.known[key]


def _beyond(split: Split) -> int | None:
    """Measured total less everything computed; None where either is not known whole."""
    planned = [figure.value_bytes for figure in (split.weights, split.kv_cache, split.recurrent, split.compute)]
    known = [size for size in planned if size is not None]
    if split.driver.value_bytes is None or len(known) < len(planned):
        return None
    return split.driver.value_bytes - sum(known)
