"""A plan with what a person wants to know of it: whether it fits, how much context would, what somebody else says."""

from dataclasses import dataclass
from enum import StrEnum

from kvtop.domain.answers.engine_fit import EngineFit
from kvtop.domain.plan import DevicePlan, Estimate, MemoryPlan


class Fit(StrEnum):
    """Whether a plan has room on one device."""

    FITS = "fits"
    TIGHT = "tight"
    """It fits unless the estimate is at its high end."""
    TOO_LARGE = "does not fit"
    UNKNOWN = "unknown"
    """Nobody said how much memory there is."""


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """One device's share of a plan, and the memory that is there for it.

    `room_bytes` is what is free now, else all that the device has; None is unknown. `is_whole` is False where a part of
    the share is unknown: then `needed` is only the least that it takes.
    """

    name: str
    needed: Estimate
    room_bytes: int | None
    is_whole: bool = True
    product: str = ""
    is_compute_known: bool = True

    @property
    def fit(self) -> Fit:
        """The verdict, held against the estimate's range."""
        if self.room_bytes is None:
            return Fit.UNKNOWN
        if self.needed.high_bytes <= self.room_bytes:
            return Fit.FITS if self.is_whole else Fit.UNKNOWN
        return Fit.TIGHT if self.needed.value_bytes <= self.room_bytes else Fit.TOO_LARGE


def device_fit(
    part: DevicePlan, room_bytes: int | None, product: str = "", *, is_compute_known: bool = True
) -> DeviceFit:
    """The share of one device, held against `room_bytes`."""
    is_whole = is_compute_known and None not in (part.weights_bytes, part.kv_cache_bytes)
    needed = part.compute + part.held
    return DeviceFit(part.name, needed, room_bytes, is_whole, product, is_compute_known)


@dataclass(frozen=True, slots=True)
class Check:
    """One figure beside what the engine's own tool says of it, in MiB rounded down as the tool prints it."""

    device: str
    what: str
    planned_mib: int
    reported_mib: int

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return self.planned_mib == self.reported_mib


@dataclass(frozen=True, slots=True)
class Asked:
    """The plan of the options as they were typed, where the engine loads with others."""

    plan: MemoryPlan
    rooms: tuple[DeviceFit, ...]


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """The answer to `kvtop plan`. `rooms` are in the order of `plan.devices`.

    `largest_context_tokens` None: not asked, or nothing limits it; 0: not even the smallest fits. `is_trained_limit`:
    the model was trained for no more. `assumption` is "" or what was assumed to get any number at all.
    `checks` None: nobody asked for them; `check_note` says what was compared or why nothing was.
    `engine_fit` is what the engine changes by itself, None for engines that change nothing; `plan` is the one after it,
    `asked` the one before it, None where they do not differ.
    """

    plan: MemoryPlan
    rooms: tuple[DeviceFit, ...]
    largest_context_tokens: int | None = None
    is_trained_limit: bool = False
    assumption: str = ""
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] | None = None
    check_note: str = ""
    engine_fit: EngineFit | None = None
    asked: Asked | None = None
