"""Which amounts of context fit with which cache types, as values that views may show."""

from dataclasses import dataclass

from kvtop.domain.answers.room import Fit
from kvtop.domain.figure import Figure


@dataclass(frozen=True, slots=True)
class Cell:
    """One configuration. `amount` is its context, length or number of requests.

    `needed` is of the tightest device whose room is known; `changes` are the options that lead here from the present
    configuration, (canonical name, value), None for an option that goes.
    """

    amount: int
    fit: Fit
    needed: Figure | None
    changes: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One cache type. `largest` is the most that surely fits; None: unknown. `refusal` has the engine's words."""

    label: str
    cells: tuple[Cell, ...]
    largest: int | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Frontier:
    """`column` says what the amounts are. `current` is (row, column) of the present configuration.

    `amounts_are_tokens` False: they count requests.
    """

    engine: str
    column: str
    amounts: tuple[int, ...]
    rows: tuple[Row, ...]
    current: tuple[int, int] | None
    amounts_are_tokens: bool = True
