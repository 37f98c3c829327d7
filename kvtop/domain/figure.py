"""A number and who says so."""

from dataclasses import dataclass
from enum import StrEnum


class Basis(StrEnum):
    """Who says so, from the surest to the least sure."""

    MEASURED = "measured"
    """The driver or the kernel counted it."""
    REPORTED = "reported"
    """The engine said so."""
    COMPUTED = "computed"
    """Exact: model file, launch options and the engine's own rule."""
    ESTIMATED = "estimated"
    """A model with a stated range (`low_bytes`, `high_bytes`)."""
    RESIDUAL = "residual"
    """What is left of a measured total after everything known."""
    UNKNOWN = "unknown"
    """Nobody said. Never shown as 0."""


@dataclass(frozen=True, slots=True)
class Figure:
    """An amount of memory with its basis.

    `value_bytes` is None exactly when `basis` is UNKNOWN. `low_bytes` and `high_bytes` are set for ESTIMATED, and for
    UNKNOWN where nobody says how much it is but a measurement bounds it.
    `source` is one line a person can read: the rule, the endpoint or the driver call behind the number.
    """

    value_bytes: int | None
    basis: Basis
    low_bytes: int | None = None
    high_bytes: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if (self.value_bytes is None) != (self.basis is Basis.UNKNOWN):
            raise ValueError(f"a figure is None exactly when it is unknown, got {self.value_bytes!r} {self.basis}")


UNKNOWN = Figure(None, Basis.UNKNOWN)
