"""What the terminal can do, by its entry in terminfo: how many colours it has, and whether it can place text at all."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

FEW_COLOURS = 16
"""With so many or fewer a theme's shades fall together: the terminal's own palette tells warnings from text."""


@dataclass(frozen=True, slots=True)
class TerminalKind:
    """`colours` is None where it is not known. `can_place` is true unless it is known that it cannot."""

    colours: int | None = None
    can_place: bool = True

    @property
    def is_monochrome(self) -> bool:
        """It is known to have no colours."""
        return self.colours is not None and self.colours < FEW_COLOURS // 2

    @property
    def has_few_colours(self) -> bool:
        """It is known to have no more than a palette."""
        return self.colours is not None and self.colours <= FEW_COLOURS


def terminal_kind(environ: Mapping[str, str]) -> TerminalKind:
    """Of the terminal that this environment names."""
    if environ.get("COLORTERM", "").lower() in {"truecolor", "24bit"}:
        return TerminalKind()
    try:
        import curses  # noqa: PLC0415  a Python may be built without it
    except ImportError:
        return TerminalKind()
    try:
        # Any open file will do: only the entry is read.
        curses.setupterm(environ.get("TERM", ""), 1)
        return TerminalKind(max(curses.tigetnum("colors"), 0), curses.tigetstr("cup") is not None)
    except curses.error:
        return TerminalKind()


def tell_of_colours(*, wanted: bool) -> None:
    """Tells the toolkit, which asks the environment alone, and takes an empty NO_COLOR for a wish."""
    if wanted:
        os.environ.pop("NO_COLOR", None)
    else:
        os.environ["NO_COLOR"] = "1"
