"""A plan with what a person wants to know of it: whether it fits, how much context would, what somebody else says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from kvtop.domain.answers.engine_fit import EngineFit
from kvtop.domain.answers.room import Fit, Room, verdict
from kvtop.domain.figure import Figure
from kvtop.domain.memory import Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan, PoolEstimate


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """One device's share of a plan, and the memory that is there for it.

    `room` None: nobody said how much memory there is. `is_whole` is False where a part of the share is unknown: then
    `needed` is only the least that it takes. `pool` is what is likely left for the cache of an engine that takes a
    share of the card whatever its model needs.
    """

    name: str
    needed: Figure
    room: Room | None
    is_whole: bool = True
    product: str = ""
    pool: PoolEstimate | None = None

    @property
    def fit(self) -> Fit:
        """The verdict; a pool that may hold no request of full length, or cannot, is none that fits."""
        found = verdict(self.needed, self.room, is_whole=self.is_whole)
        if self.pool is None or found is not Fit.FITS or self.pool.tokens_low:
            return found
        return Fit.TIGHT if self.pool.tokens_high else Fit.TOO_LARGE

    @property
    def least_bytes(self) -> int:
        """The likely size of what is known of it; 0 where nothing is."""
        return self.needed.value_bytes or 0

    @property
    def room_bytes(self) -> int | None:
        """What others leave of the device now, else all that it has; None is unknown."""
        return None if self.room is None else self.room.available_bytes


def device_fit(part: DeviceShare, room: Room | None, product: str = "") -> DeviceFit:
    """The share of one device, held against its room."""
    return DeviceFit(part.name, part.memory.known, room, part.memory.is_whole, product)


def plan_fits(
    plan: MemoryPlan, rooms: Mapping[str, Room | None], products: Mapping[str, str] = MappingProxyType({})
) -> tuple[DeviceFit, ...]:
    """Each share of a plan, held against what its device has for it."""
    found = tuple(device_fit(part, rooms.get(part.name), products.get(part.name, "")) for part in plan.devices)
    requested = () if plan.vllm is None else plan.vllm.requested_bytes_per_rank
    if plan.vllm is None or len(requested) != len(found):
        return found
    pool = plan.vllm.pool_estimate
    return tuple(
        it if size is None else replace(it, needed=Figure.computed(size), is_whole=pool is not None, pool=pool)
        for it, size in zip(found, requested, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Check:
    """Segments together beside what the engine's own tool says of them, in MiB rounded down as the tool prints it."""

    device: str
    segments: tuple[Segment, ...]
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
    refusal: str = ""
    """Why the engine's version, where it is known, would not start with the command that was planned as meant."""
    asked: Asked | None = None
