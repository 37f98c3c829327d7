"""A frontier as text for a terminal and as JSON, schema `kvtop.frontier/1` (names are only added to)."""

import json
from typing import TypedDict

from kvtop.domain.answers.frontier import Cell, Frontier, Row
from kvtop.domain.answers.room import Fit
from kvtop.text import tokens_text

SCHEMA = "kvtop.frontier/1"


class NeededJson(TypedDict):
    """Bytes of the tightest device, and the range that is meant to hold the truth in 95 % of cases."""

    value: int
    low: int
    high: int


class CellJson(TypedDict):
    """One configuration. `changes` are the options that lead there; null is an option that goes."""

    amount: int
    fit: str
    needed_bytes: NeededJson | None
    changes: dict[str, str | None]


class RowJson(TypedDict):
    """One cache type. `largest` is the most that surely fits; `refusal` has the engine's words."""

    cache_type: str
    largest: int | None
    refusal: str | None
    cells: list[CellJson]


class CurrentJson(TypedDict):
    """The present configuration."""

    cache_type: str
    amount: int


class FrontierJson(TypedDict):
    """Which amounts of context fit with which cache types; `column` says what the amounts are."""

    schema: str
    engine: str
    model: str
    column: str
    amounts: list[int]
    current: CurrentJson | None
    rows: list[RowJson]
    notes: list[str]


_MARKS = {Fit.FITS: "fits", Fit.TIGHT: "tight", Fit.TOO_LARGE: "no", Fit.UNKNOWN: "?"}
_LABEL_COLUMNS, _COLUMN = 13, 6


def frontier_text(found: Frontier, notes: tuple[str, ...] = ()) -> str:
    """A table: a row a cache type, a column an amount; the present configuration in brackets."""
    head = "".join(f"{_amount(found, amount):>{_COLUMN}}" for amount in found.amounts)
    lines = [f"{found.column}, by cache type", "", f"{'':{_LABEL_COLUMNS}}{head}   at most"]
    for number, row in enumerate(found.rows):
        lines.append(_row(found, number, row))
    refusals = [f"{row.label}: {row.refusal}" for row in found.rows if row.refusal]
    lines += ["", "fits: also at the high end of the estimate; tight: unless it is at its high end; [ ]: as it is now"]
    return "\n".join([*lines, *refusals, *(f"note: {note}" for note in notes)]) + "\n"


def _row(found: Frontier, number: int, row: Row) -> str:
    words = []
    for column, cell in enumerate(row.cells):
        mark = "no" if row.refusal and cell.fit is Fit.UNKNOWN else _MARKS[cell.fit]
        words.append(f"[{mark}]" if found.current == (number, column) else f"{mark} ")
    most = "?" if row.largest is None else _amount(found, row.largest, exact=True)
    if row.refusal:
        most = "refused"
    return f"{row.label:{_LABEL_COLUMNS}}{''.join(f'{word:>{_COLUMN}}' for word in words)}   {most}"


def _amount(found: Frontier, amount: int, *, exact: bool = False) -> str:
    if not found.amounts_are_tokens:
        return str(amount)
    return f"{amount} ({tokens_text(amount)})" if exact else tokens_text(amount)


def frontier_json(found: Frontier, model: str, notes: tuple[str, ...] = ()) -> str:
    """The same for programs. `fit` is "fits", "tight", "does not fit" or "unknown"; null is unknown."""
    document: FrontierJson = {
        "schema": SCHEMA,
        "engine": found.engine,
        "model": model,
        "column": found.column,
        "amounts": list(found.amounts),
        "current": None
        if found.current is None
        else {"cache_type": found.rows[found.current[0]].label, "amount": found.amounts[found.current[1]]},
        "rows": [
            {
                "cache_type": row.label,
                "largest": row.largest,
                "refusal": row.refusal or None,
                "cells": [_cell(cell) for cell in row.cells],
            }
            for row in found.rows
        ],
        "notes": list(notes),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _cell(cell: Cell) -> CellJson:
    needed = cell.needed
    return {
        "amount": cell.amount,
        "fit": cell.fit.value,
        "needed_bytes": None
        if needed is None or needed.value_bytes is None or needed.most_bytes is None
        else {"value": needed.value_bytes, "low": needed.least_bytes, "high": needed.most_bytes},
        "changes": dict(cell.changes),
    }
