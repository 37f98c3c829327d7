"""A stacked bar of glyphs: how many columns each part gets."""

from kvtop.views.bar_parts import Part
from kvtop.views.tui.widgets.lines import Piece


def bar(parts: tuple[Part, ...], width: int, whole_bytes: int | None = None) -> tuple[Piece, ...]:
    """A stacked bar of exactly `width` columns.

    Every part that is there gets a column, however small, as long as there are columns enough; the rest by largest
    remainder. With nothing to draw it is all question marks: unknown is not empty.
    """
    there = [part for part in parts if part.size_bytes > 0]
    whole = max(whole_bytes or 0, sum(part.size_bytes for part in there))
    if whole == 0 or width <= 0:
        return (Piece("?" * max(width, 0), "faint"),)
    columns = _columns([part.size_bytes for part in there], whole, width)
    pieces = [Piece(part.look.glyph * n, part.look.role) for part, n in zip(there, columns, strict=True) if n]
    rest = width - sum(columns)
    return (*pieces, Piece(" " * rest)) if rest else tuple(pieces)


def _columns(sizes: list[int], whole: int, width: int) -> list[int]:
    exact = [size * width / whole for size in sizes]
    columns = [int(share) for share in exact]
    target = round(sum(exact))
    for index in sorted(range(len(sizes)), key=lambda i: columns[i] - exact[i])[: target - sum(columns)]:
        columns[index] += 1
    if len(sizes) <= width:
        for index, count in enumerate(columns):
            if count == 0:
                columns[index] = 1
    while sum(columns) > width:
        columns[columns.index(max(columns))] -= 1
    return columns
