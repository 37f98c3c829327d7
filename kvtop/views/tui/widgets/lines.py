"""Lines of styled text as plain values: what every panel draws into, and the fitting of words to columns."""

from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size


class Piece(NamedTuple):
    """A run of text in one style. `role` is a component class of the canvas without its prefix; "" is plain.

    `action` is what a click on it does, in the words of keys.py with its target before it ("screen.open", "app.help").
    """

    text: str
    role: str = ""
    action: str = ""


Line = tuple[Piece, ...]

# One column for one column, so that no width is computed twice. Whatever is not listed becomes "_": "?" means unknown.
_ASCII = {
    **dict(zip("█▓░▚▌▄▒≡·", "#=-%+~:x.", strict=True)),
    **dict(zip("…→←↑↓▸▲■●±≤─│•○◆", "~><^v>!X*+<-|-o!", strict=True)),
    **{chr(dots): "*" for dots in range(0x2801, 0x2900)},
    "\u2800": " ",
    "°": " ",
    **dict(zip("▁▂▃▅▆▇", "_.:+*%", strict=True)),
}


def ascii_text(text: str) -> str:
    """The same columns in ASCII."""
    return text if text.isascii() else "".join(c if c.isascii() else _ASCII.get(c, "_") for c in text)


def width_of(line: Iterable[Piece]) -> int:
    """Columns of a line."""
    return sum(cell_len(piece.text) for piece in line)


def clip(text: str, width: int) -> str:
    """At most `width` columns; what is cut off is shown by an ellipsis."""
    if cell_len(text) <= width:
        return text
    return "" if width <= 0 else set_cell_size(text, width - 1) + "…"


def left(text: str, width: int) -> str:
    """Exactly `width` columns, flush left."""
    return set_cell_size(clip(text, width), width)


def right(text: str, width: int) -> str:
    """Exactly `width` columns, flush right."""
    text = clip(text, width)
    return " " * (width - cell_len(text)) + text


def fold(words: Iterable[Line], width: int, gap: int = 2) -> list[Line]:
    """Lays unbreakable words out in lines of at most `width` columns."""
    lines: list[list[Piece]] = []
    room = -1
    for word in words:
        need = width_of(word)
        if lines and need + gap <= room:
            lines[-1].append(Piece(" " * gap))
            room -= gap
        else:
            lines.append([])
            room = width
        lines[-1].extend(word)
        room -= need
    return [tuple(line) for line in lines]


def wrap(text: str, width: int) -> list[str]:
    """Words in lines of at most `width` columns; a word longer than that is cut, never lost."""
    lines = [""]
    for word in text.split():
        rest = word
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(rest) > width:
            lines.append("")
        while cell_len(rest) > width > 0:
            lines[-1] = set_cell_size(rest, width)
            rest = rest[len(lines[-1]) :]
            lines.append("")
        lines[-1] = f"{lines[-1]} {rest}".strip()
    return lines


def rule(title: str, width: int) -> Line:
    """A section's head: ── title ─────."""
    head = clip(title, max(width - 6, 0))
    return (Piece("── ", "faint"), Piece(head, "title"), Piece(" " + "─" * (width - 4 - cell_len(head)), "faint"))


def beside(first: list[Line], second: list[Line], width: int) -> list[Line]:
    """Two columns of `width` each, three columns apart."""
    blank: Line = ()
    rows = max(len(first), len(second))
    padded = [*first, *[blank] * (rows - len(first))], [*second, *[blank] * (rows - len(second))]
    return [
        (*one, Piece(" " * (width - width_of(one)) + " │ ", "frame"), *two) for one, two in zip(*padded, strict=True)
    ]
