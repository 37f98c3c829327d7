"""A number and who says so."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


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


_ORDER = tuple(Basis)


@dataclass(frozen=True, slots=True)
class Figure:
    """An amount of memory with its basis.

    `value_bytes` is None exactly when `basis` is UNKNOWN. `low_bytes` and `high_bytes` are set for ESTIMATED, where
    they are meant to hold the truth in 95 % of cases, and for UNKNOWN where nobody says how much it is but a
    measurement bounds it. `source` is one line a person can read: the rule, the endpoint or the driver call behind the
    number.

    Figures add up and subtract: the sum is as sure as the least sure of its terms, and unknown where one of them is.
    """

    value_bytes: int | None
    basis: Basis
    low_bytes: int | None = None
    high_bytes: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if (self.value_bytes is None) != (self.basis is Basis.UNKNOWN):
            raise ValueError(f"a figure is None exactly when it is unknown, got {self.value_bytes!r} {self.basis}")

    @classmethod
    def computed(cls, size_bytes: int | None, source: str = "") -> Self:
        """An exact amount in bytes; unknown for None."""
        return cls(None, Basis.UNKNOWN) if size_bytes is None else cls(size_bytes, Basis.COMPUTED, source=source)

    @classmethod
    def estimated(cls, value_bytes: int, low_bytes: int, high_bytes: int, source: str = "") -> Self:
        """An amount in bytes with its range."""
        return cls(value_bytes, Basis.ESTIMATED, low_bytes, high_bytes, source)

    @property
    def least_bytes(self) -> int:
        """The low end; 0 where nothing at all is known."""
        return (self.value_bytes or 0) if self.low_bytes is None else self.low_bytes

    @property
    def most_bytes(self) -> int | None:
        """The high end; None where nothing bounds it."""
        return self.value_bytes if self.high_bytes is None else self.high_bytes

    @property
    def is_nothing(self) -> bool:
        """Exactly 0: added to another figure it changes neither its value nor who says so."""
        return self.value_bytes == 0 and self.least_bytes == self.most_bytes == 0

    def __add__(self, other: Self) -> Self:
        if other.is_nothing or self.is_nothing:
            return self if other.is_nothing else other
        high = _or_unknown(self.most_bytes, other.most_bytes)
        return self._with(other, 1, self.least_bytes + other.least_bytes, high)

    def __sub__(self, other: Self) -> Self:
        if other.is_nothing:
            return self
        low = None if other.most_bytes is None else self.least_bytes - other.most_bytes
        high = None if self.most_bytes is None else self.most_bytes - other.least_bytes
        return self._with(other, -1, low, high)

    def _with(self, other: Self, sign: int, low_bytes: int | None, high_bytes: int | None) -> Self:
        basis = max(self.basis, other.basis, key=_ORDER.index)
        value = _or_unknown(self.value_bytes, None if other.value_bytes is None else sign * other.value_bytes)
        has_range = value is None or any(it.low_bytes is not None or it.high_bytes is not None for it in (self, other))
        if not has_range:
            low_bytes = high_bytes = None
        elif value is None and not low_bytes:
            low_bytes = None  # that it is not less than nothing is no news
        return type(self)(value, basis, low_bytes, high_bytes, self.source if self.source == other.source else "")


def _or_unknown(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


UNKNOWN = Figure(None, Basis.UNKNOWN)
NOTHING = Figure(0, Basis.COMPUTED)
