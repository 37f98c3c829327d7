"""A plot over time as lines: plotext draws the curve in braille, the axes and their printed scale are ours."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby

from kvtop.text import duration_text
from kvtop.views.tui.widgets.lines import Line, Piece, left, right

SPANS = (60.0, 300.0, 1800.0, 3 * 3600.0, 12 * 3600.0)
"""What the time axis may show, in seconds."""
_AXIS = 10
"""Columns of the vertical axis: a number and its line."""

Curve = Sequence[tuple[float, float | None]]
"""(Unix seconds, value): None is unknown and leaves a gap."""


def plot_lines(
    title: str, curve: Curve, number: Callable[[float], str], top: float, span_seconds: float, width: int, height: int
) -> list[Line]:
    """`height` lines: the title with the newest value, the curve from 0 to `top`, the time axis."""
    newest = next((value for _, value in reversed(curve) if value is not None), None)
    head = f"{title}  {number(newest) if newest is not None else '?'}"
    rows, columns = max(height - 2, 1), max(width - _AXIS, 4)
    # The window moves by a twentieth of itself, not with every tick: in between only the newest columns change.
    step = span_seconds / 20
    end = math.ceil(curve[-1][0] / step) * step if curve else 0.0
    drawn = _curve(curve, end - span_seconds, end, top, columns, rows)
    lines: list[Line] = [(Piece(left(head, width).rstrip(), "strong"),)]
    for index, text in enumerate(drawn):
        label = number(top) if index == 0 else number(0.0) if index == rows - 1 else ""
        lines.append((Piece(right(label, _AXIS - 2) + " ", "faint"), Piece("│", "frame"), Piece(text, "kv-used")))
    ago = f"{duration_text(span_seconds)} ago"
    axis = f"{ago}{'now':>{max(columns - len(ago), 4)}}"
    lines.append((Piece(" " * _AXIS), Piece(left(axis, columns), "faint")))
    return lines


def _curve(curve: Curve, start: float, end: float, top: float, columns: int, rows: int) -> list[str]:
    from plotext import figure, terminal  # noqa: PLC0415  120 ms: only when a plot is on the screen

    terminal.limit(False, False)
    figure.clear()
    figure.plot_size(columns, rows)
    figure.axes(False)
    for name, low, high in (("x", start, end), ("y", 0.0, top)):
        ruler = figure.ruler(name)
        ruler.lim(low, high)
        ruler.frequency(0)
    inside = [(at, value) for at, value in curve if at >= start]
    for is_known, run in groupby(inside, key=lambda point: point[1] is not None):
        if is_known:
            times, values = zip(*run, strict=True)
            signal = figure.signal(list(times), [min(value, top) for value in values], marker="braille")
            signal.lines(True)
            figure.draw(signal)
    if not any(value is not None for _, value in inside):
        return [" " * columns] * rows
    text: str = figure.build().string(colorless=True)
    # Blank braille for spaces: where a font lacks braille, all of a row comes from another one and keeps its columns.
    return [left(line, columns).replace(" ", "\u2800") for line in text.split("\n")[:rows]]


def nice_top(values: Sequence[float | None]) -> float:
    """A round number at or above every value: 1, 2 or 5 times a power of ten."""
    highest = max((value for value in values if value is not None), default=1.0)
    step = 1.0
    while step < highest:
        for factor in (2.0, 2.5, 2.0):
            step *= factor
            if step >= highest:
                return step
    return step
