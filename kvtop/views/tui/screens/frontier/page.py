"""The Frontier screen as lines: a map of what fits, with a cursor, and the configuration that runs now marked."""

from kvtop.domain.answers.frontier import Cell, Frontier, Row
from kvtop.domain.answers.room import Fit
from kvtop.text import UNKNOWN_TEXT, bytes_text, tokens_text
from kvtop.views.tui.widgets.lines import Line, Piece, clip, left, right, rule, wrap

_MARKS = {
    Fit.FITS: ("fits", ""),
    Fit.TIGHT: ("tight", "warning"),
    Fit.TOO_LARGE: ("no", "error"),
    Fit.UNKNOWN: (UNKNOWN_TEXT, "faint"),
}
_LABEL, _COLUMN, _MOST = 11, 8, 9


def frontier_lines(found: Frontier, cursor: tuple[int, int], width: int) -> list[Line]:
    """`cursor` is (row, column). Columns that do not fit scroll with it; the largest amount stays in sight."""
    shown = max((width - _LABEL - _MOST) // _COLUMN, 1)
    first = min(max(cursor[1] - shown + 1, 0), max(len(found.amounts) - shown, 0))
    columns = range(first, min(first + shown, len(found.amounts)))
    head = "".join(right(_amount(found, found.amounts[column]), _COLUMN) for column in columns)
    lines: list[Line] = [
        (Piece(clip(f"{found.column}, by cache type", width), "faint"),),
        (Piece(" " * _LABEL), Piece(head, "strong"), Piece(right("at most", _MOST), "faint")),
    ]
    for number, row in enumerate(found.rows):
        lines.append(_row(found, row, number, columns, cursor))
    return [*lines, (), *_about(found, cursor, width)]


def _amount(found: Frontier, amount: int) -> str:
    return tokens_text(amount) if found.amounts_are_tokens else str(amount)


def _row(found: Frontier, row: Row, number: int, columns: range, cursor: tuple[int, int]) -> Line:
    pieces = [Piece(left(row.label, _LABEL), "strong" if number == cursor[0] else "")]
    for column in columns:
        mark, role = _mark(row, row.cells[column])
        now = "•" if found.current == (number, column) else ""
        text = f"[{mark}]{now}" if cursor == (number, column) else f"{mark}{now}"
        action = f"screen.cell({number}, {column})"
        pieces.append(Piece(right(text, _COLUMN), "key" if cursor == (number, column) else role, action))
    most = "refused" if row.refusal else UNKNOWN_TEXT if row.largest is None else _amount(found, row.largest)
    return (*pieces, Piece(right(most, _MOST), "faint"))


def _mark(row: Row, cell: Cell) -> tuple[str, str]:
    return ("no", "error") if row.refusal and cell.fit is Fit.UNKNOWN else _MARKS[cell.fit]


def _about(found: Frontier, cursor: tuple[int, int], width: int) -> list[Line]:
    """The cell under the cursor, and what the marks mean."""
    row = found.rows[cursor[0]]
    cell = row.cells[cursor[1]]
    lines: list[Line] = [rule(f"{row.label}, {_amount(found, cell.amount)}", width)]
    if row.refusal:
        lines += [(Piece(part, "error"),) for part in wrap(row.refusal, width)]
    elif cell.needed is not None:
        needed = cell.needed
        low, high = bytes_text(needed.least_bytes), bytes_text(needed.most_bytes)
        span = f" ({low} to {high})" if low != high else ""
        lines.append((Piece(clip(f"needs {bytes_text(needed.value_bytes)} on the tightest device{span}", width)),))
    changes = ", ".join(f"{name} {'as by default' if value is None else value}" for name, value in cell.changes)
    lines += [(Piece(part, "faint"),) for part in wrap(f"changes: {changes or 'none, it runs like this now'}", width)]
    told = "fits: also at the high end of the estimate; tight: unless it is at its high end; •: as it is now"
    return [*lines, *((Piece(part, "faint"),) for part in wrap(told, width))]
