"""Configurations worth trying, in order, each with what it takes, what it costs and how to get it."""

from dataclasses import dataclass

from kvtop.domain.answers.cache_speed import CacheSpeed
from kvtop.domain.answers.decode_speed import DecodeSpeed
from kvtop.domain.answers.evidence import Evidence
from kvtop.domain.answers.plan_answer import DeviceFit
from kvtop.domain.answers.room import Fit
from kvtop.domain.plan import MemoryPlan


@dataclass(frozen=True, slots=True)
class Requirements:
    """What was asked for. None: as the command has it. `prefer`: "quality", "memory" or "speed"."""

    context_tokens: int | None = None
    users: int | None = None
    prefer: str = "quality"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One configuration that fits; `fit` unknown: its known part fits, and the rest is not known.

    `changes` are (canonical name, value), None for an option that goes.

    `rooms` hold each device against its memory, `total_bytes` sums what is known of them.
    `sequence_tokens` is the longest sequence, `sequences` how many of that length fit at once. `evidence` None: the
    cache is not quantized.
    """

    cache: str
    fit: Fit
    sequence_tokens: int | None
    sequences: float | None
    plan: MemoryPlan
    rooms: tuple[DeviceFit, ...]
    total_bytes: int
    evidence: Evidence | None
    speed: CacheSpeed
    why: str
    command: str
    changes: tuple[tuple[str, str | None], ...] = ()
    placement: str = ""
    """Where the model lies; "" where the engine puts it by itself when there is room."""
    uses_host: bool = False
    """A part of it that a device could hold is on the host."""
    decode: tuple[DecodeSpeed, ...] = ()
    """Estimates of decode speed: with a short sequence, and with the longest."""
    decode_note: str = ""
    """Why there is no estimate."""


@dataclass(frozen=True, slots=True)
class Recommendations:
    """At most three, the best first. `left_out` are configurations that were not offered, each with the reason."""

    engine: str
    model: str
    requirements: Requirements
    items: tuple[Recommendation, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_quality_measurable: bool = False
    """The engine has a tool that compares cache types on a model and a text."""
