"""Facts that move slowly: asked in turn, one a refresh, so that no refresh costs many driver calls."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

from kvtop.sources.devices.nvml.errors import ABSENT_CODES, DriverError

COUNT = "nvmlDeviceGetCount"
MIG_MODE = "nvmlDeviceGetMigMode"
TEMPERATURE = "nvmlDeviceGetTemperature"
POWER = "nvmlDeviceGetPowerUsage"
POWER_LIMIT = "nvmlDeviceGetEnforcedPowerLimit"
CLOCK = "nvmlDeviceGetClockInfo"
CLOCK_LIMIT = "nvmlDeviceGetMaxClockInfo"
_KINDS = {TEMPERATURE: 0, CLOCK: 1, CLOCK_LIMIT: 1}
"""What of it: the GPU (nvmlTemperatureSensors_t), the streaming multiprocessors (nvmlClockType_t)."""


class Asker(Protocol):
    """One driver call by name."""

    def ask(self, function: str, *arguments: object) -> Any:  # noqa: ANN401  the binding's structs carry no types
        """The value, or a DriverError."""


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """`function` of the binding, asked again after `seconds`."""

    function: str
    seconds: float = 5.0


CARD_QUESTIONS = (
    *(SlowQuery(TEMPERATURE), SlowQuery(POWER), SlowQuery(MIG_MODE), SlowQuery(CLOCK)),
    *(SlowQuery(POWER_LIMIT, 30.0), SlowQuery(CLOCK_LIMIT, 3600.0)),
)


class SlowFacts:
    """The last answers of one device, each None while unknown."""

    def __init__(self, driver: Asker, handle: object, questions: tuple[SlowQuery, ...]) -> None:
        self._driver = driver
        self._handle = handle
        self._questions = questions
        self._due: dict[str, float] = {}
        self._answers: dict[str, Any] = {}

    def ask_all(self) -> None:
        """Ask everything at once, when the device is met: a single snapshot then has the slow facts too."""
        for question in self._questions:
            self._ask(question)

    def ask_next(self) -> int:
        """Ask what is overdue longest, if anything is. Returns the driver calls made: 0 or 1."""
        now = time.monotonic()
        overdue = [question for question in self._questions if self._due[question.function] <= now]
        if not overdue:
            return 0
        self._ask(min(overdue, key=lambda question: self._due[question.function]))
        return 1

    @property
    def device_count(self) -> int | None:
        """Cards that the driver counts, where this device is the one that asks."""
        count: int | None = self._answers.get(COUNT)
        return count

    @property
    def is_mig_on(self) -> bool:
        """The card is cut into slices now."""
        mode = self._answers.get(MIG_MODE)
        return mode is not None and mode[0] == 1

    @property
    def temperature_celsius(self) -> float | None:
        """Of the GPU; None for figures that no card survives."""
        celsius = self._answers.get(TEMPERATURE)
        return float(celsius) if celsius is not None and celsius < 200 else None

    @property
    def power_watts(self) -> float | None:
        """Drawn by the whole card; None for figures above 100 kW."""
        return _watts(self._answers.get(POWER))

    @property
    def power_limit_watts(self) -> float | None:
        """What the driver enforces now."""
        return _watts(self._answers.get(POWER_LIMIT))

    @property
    def clock_mhz(self) -> float | None:
        """Of the streaming multiprocessors now; None for figures that no chip reaches."""
        return _megahertz(self._answers.get(CLOCK))

    @property
    def clock_limit_mhz(self) -> float | None:
        """The highest that they may take."""
        return _megahertz(self._answers.get(CLOCK_LIMIT))

    def _ask(self, question: SlowQuery) -> None:
        function = question.function
        arguments: tuple[object, ...] = () if function == COUNT else (self._handle,)
        if function in _KINDS:
            arguments = (self._handle, _KINDS[function])
        answer = self._driver.ask(function, *arguments)
        failed = isinstance(answer, DriverError)
        never = failed and answer.code in ABSENT_CODES
        self._answers[function] = None if failed else answer
        self._due[function] = float("inf") if never else time.monotonic() + question.seconds


def _watts(milliwatts: int | None) -> float | None:
    return milliwatts / 1000 if milliwatts is not None and milliwatts < 10**8 else None


def _megahertz(clock: int | None) -> float | None:
    return float(clock) if clock is not None and clock < 10_000 else None
