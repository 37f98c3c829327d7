"""A widget that shows lines and repaints only the cells that changed."""

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from kvtop.views.segment_table import LOOKS
from kvtop.views.tui.widgets.lines import Line, ascii_text, clip

ROLES = (
    "title",
    "strong",
    "faint",
    "warning",
    "error",
    "stale",
    "key",
    "frame",
    *(look.role for look in LOOKS),
)


_DIM = Style(dim=True)


class Canvas(Widget):
    """Shows lines that somebody else has already fitted to its width. Colours come from TCSS alone."""

    @dataclass
    class LineClicked(Message):
        """A line was clicked. `times` is 2 for a double click."""

        canvas: "Canvas"
        line: int
        times: int

    COMPONENT_CLASSES: ClassVar[set[str]] = {"canvas--cursor", *(f"canvas--{role}" for role in ROLES)}
    DEFAULT_CSS = "Canvas { height: auto; width: 1fr; }"

    def __init__(self, *, ascii_only: bool, id: str | None = None) -> None:  # noqa: A002 -- Textual's own word
        super().__init__(id=id)
        self._ascii_only = ascii_only
        self._lines: tuple[Line, ...] = ()
        self._cursor: int | None = None
        self._is_stale = False
        self.changes = 0
        """How often something else was shown."""

    def show(self, lines: list[Line] | tuple[Line, ...], cursor: int | None = None) -> None:
        """Takes new lines; equal ones cost nothing, and other ones cost their changed columns."""
        if self._ascii_only:
            lines = [tuple(piece._replace(text=ascii_text(piece.text)) for piece in line) for line in lines]
        old, new = self._lines, tuple(lines)
        if old == new and cursor == self._cursor:
            return
        old_cursor, self._cursor = self._cursor, cursor
        self._lines = new
        self.changes += 1
        if len(old) != len(new):
            self.refresh(layout=True)
            return
        width = self.size.width
        regions = [
            Region(0, y, width, 1) if y in (cursor, old_cursor) and cursor != old_cursor else _changed(before, after, y)
            for y, (before, after) in enumerate(zip(old, new, strict=True))
            if before != after or (cursor != old_cursor and y in (cursor, old_cursor))
        ]
        if regions:
            self.refresh(*regions)

    async def on_click(self, event: events.Click) -> None:
        """A piece that can be clicked does what it says; any other click is told to the screen by its line."""
        column = 0
        for piece in self._lines[event.y] if event.y < len(self._lines) else ():
            column += Segment(piece.text).cell_length
            if event.x < column:
                if piece.action:
                    event.stop()
                    await self.app.run_action(piece.action, default_namespace=self.screen)
                    return
                break
        self.post_message(self.LineClicked(self, event.y, event.chain))

    def set_stale(self, is_stale: bool) -> None:
        """Dim, because what is shown is old; or not."""
        if is_stale != self._is_stale:
            self._is_stale = is_stale
            self.changes += 1
            self.refresh()

    def text(self) -> str:
        """What is shown, without styles."""
        return "\n".join("".join(piece.text for piece in line) for line in self._lines)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 -- Textual asks so
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        if self._is_stale:
            base = base + _DIM
        if y == self._cursor:
            base = base + self.get_component_rich_style("canvas--cursor", partial=True)
        if y >= len(self._lines):
            return Strip.blank(width, base)
        segments: list[Segment] = []
        room = width
        for piece in self._lines[y]:
            text = clip(piece.text, room)
            if not text:
                continue
            segment = Segment(text, base + self._style(piece.role))
            segments.append(segment)
            room -= segment.cell_length
        return Strip(segments, width - room).adjust_cell_length(width, base)

    def _style(self, role: str) -> Style:
        return self.get_component_rich_style(f"canvas--{role}", partial=True) if role else Style.null()


def _changed(before: Line, after: Line, y: int) -> Region:
    """The columns of row `y` from the first that differs to the last."""
    old, new = _cells(before), _cells(after)
    width = max(len(old), len(new))
    blank = (" ", "")
    old += [blank] * (width - len(old))
    new += [blank] * (width - len(new))
    differing = [x for x in range(width) if old[x] != new[x]]
    return Region(differing[0], y, differing[-1] - differing[0] + 1, 1) if differing else Region(0, y, 1, 1)


def _cells(line: Line) -> list[tuple[str, str]]:
    # A wide character takes two columns: both belong to it, so that regions are counted in columns.
    cells: list[tuple[str, str]] = []
    for piece in line:
        for character in piece.text:
            cells.extend([(character, piece.role)] * Segment(character).cell_length)
    return cells
