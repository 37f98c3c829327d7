"""What would change if a server were started with other options, as values that views may show."""

from dataclasses import dataclass, replace

from kvtop.domain.answers.cache_speed import CacheSpeed
from kvtop.domain.answers.evidence import Evidence
from kvtop.domain.answers.room import Fit, Room, verdict
from kvtop.domain.figure import Figure
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Memory
from kvtop.domain.plan import MemoryPlan, Refusal

DETAIL = "what if"


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Launch options with some replaced. `changes` are (canonical name, value); None takes an option away.

    `at_tokens` is the length of a sequence for engines whose cache grows (MLX); None is the engine's own way.
    """

    base: LaunchOptions
    changes: tuple[tuple[str, str | None], ...] = ()
    at_tokens: int | None = None

    @property
    def launch(self) -> LaunchOptions:
        """The options with the changes in them."""
        names = {name for name, _ in self.changes}
        kept = tuple(option for option in self.base.options if option.name not in names)
        added = tuple(
            LaunchOption(name, value, Origin.ARGV, DETAIL) for name, value in self.changes if value is not None
        )
        return replace(self.base, options=(*kept, *added))

    def value(self, name: str) -> str | None:
        """The value of an option as changed."""
        changed = dict(self.changes)
        return changed[name] if name in changed else self.base.value(name)

    def with_changes(self, **options: str | None) -> "WhatIf":
        """More options replaced; names with underscores for dashes. A value that the base has already is no change."""
        changed = dict(self.changes)
        for word, value in options.items():
            name = word.replace("_", "-")
            changed.pop(name, None)
            if self.base.value(name) != value:
                changed[name] = value
        return replace(self, changes=tuple(changed.items()))


def replace_length(what_if: WhatIf, tokens: int) -> WhatIf:
    """The same options, looked at with another length of sequence."""
    return replace(what_if, at_tokens=tokens)


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """One device now and then: Memory of the same segments.

    `beyond_bytes` is held now and then beside both. `needed` is the whole total then, with the range of the estimate
    and `beyond_bytes` in it; it is unknown where a part of it is. `room` is what the server could have: free memory
    and what it holds itself.
    """

    name: str
    now: Memory
    then: Memory
    beyond_bytes: int
    needed: Figure
    room: Room | None

    @property
    def room_bytes(self) -> int | None:
        """What is there without the reserve; None is unknown."""
        return None if self.room is None else self.room.available_bytes

    @property
    def is_whole(self) -> bool:
        """Whether the whole need is known."""
        return self.needed.value_bytes is not None

    @property
    def known(self) -> Figure:
        """The need, or what is known of it."""
        if self.is_whole:
            return self.needed
        return Figure.computed((self.then.known.value_bytes or 0) + self.beyond_bytes)

    @property
    def fit(self) -> Fit:
        """Fits, fits unless the estimate is at its high end, or does not fit.

        Where a part of the need is unknown, what is known of it may be too much already.
        """
        found = verdict(self.known, self.room)
        return found if self.is_whole or found is Fit.TOO_LARGE else Fit.UNKNOWN


@dataclass(frozen=True, slots=True)
class WhatIfComparison:
    """Now beside then. `then` is a Refusal where the engine would not start, None where no exact rule is known.

    `note` has the words of either; `devices` is empty without a plan for then.
    """

    what_if: WhatIf
    now: MemoryPlan | None
    then: MemoryPlan | Refusal | None
    devices: tuple[DeviceChange, ...] = ()
    note: str = ""
    adjusted: str = ""
    """What the engine would change by itself when it starts with these options, in words."""

    @property
    def fit(self) -> Fit:
        """The worst verdict of the devices whose room is known; unknown where that is none, or a part is unknown."""
        order = (Fit.TOO_LARGE, Fit.UNKNOWN, Fit.TIGHT, Fit.FITS)
        fits = {device.fit for device in self.devices if device.room_bytes is not None}
        return next((fit for fit in order if fit in fits), Fit.UNKNOWN)


@dataclass(frozen=True, slots=True)
class KnobState:
    """One thing that can be turned: what it is called for this engine, and where it stands now and then."""

    knob: str
    name: str
    now: str
    then: str


@dataclass(frozen=True, slots=True)
class WhatIfAnswer:
    """Everything that a screen shows of one what-if.

    `speed` and `evidence` are of the changed cache types; `evidence` None: not quantized, or nothing is planned.
    `where` says what `command` is (a command line, an environment, a line of a preset); `command_notes` what it cannot.
    `is_turned`: anything is turned, be it only the length that is looked at.
    """

    server_id: str
    model: str
    comparison: WhatIfComparison
    knobs: tuple[KnobState, ...]
    evidence: Evidence | None
    speed: CacheSpeed | None
    where: str
    command: str
    command_notes: tuple[str, ...] = ()
    is_turned: bool = False
    kept_sequences: int | None = None
    """How many finished sequences keep their caches beside the one that is planned; None: none, or it is unknown."""

    @property
    def is_changed(self) -> bool:
        """Whether the server would be started with other options."""
        return bool(self.comparison.what_if.changes)
