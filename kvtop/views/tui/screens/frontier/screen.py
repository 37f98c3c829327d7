"""Which contexts fit with which cache types for the selected server."""

from typing import ClassVar

from textual.binding import BindingType

from kvtop.domain.answers.frontier import Frontier
from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import FRONTIER, WHAT_IF
from kvtop.views.tui.screens.frontier.page import frontier_lines
from kvtop.views.tui.screens.screen import PageScreen, bindings_of
from kvtop.views.tui.widgets.empty_lines import unasked_lines
from kvtop.views.tui.widgets.lines import Line


class FrontierScreen(PageScreen):
    """A map with a cursor; Enter makes the cell under it the what-if."""

    key = FRONTIER
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(FRONTIER)

    def __init__(self) -> None:
        super().__init__()
        self._cursor: tuple[int, int] | None = None
        self._server_id = ""

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        found = self._frontier()
        if isinstance(found, str):
            return "Frontier", unasked_lines(found, frame, width)
        return "Frontier", frontier_lines(found, self._at(found), width)

    def works(self, action: str) -> bool:
        if action in {"column", "adopt"}:
            return isinstance(self._frontier(), Frontier)
        return super().works(action)

    def move(self, lines: int) -> None:
        self._move(lines, 0)

    def _frontier(self) -> Frontier | str:
        view, what_if_session = self.kvtop.selected(), self.kvtop.what_if_session
        if view is None or what_if_session is None:
            return "There is no server to plan for."
        if view.reading.id != self._server_id:
            self._server_id, self._cursor = view.reading.id, None
        return what_if_session.frontier(view.reading.id)

    def _at(self, found: Frontier) -> tuple[int, int]:
        """The cursor, kept inside; it starts where the server is now."""
        row, column = self._cursor or found.current or (0, 0)
        return min(row, len(found.rows) - 1), min(column, len(found.amounts) - 1)

    def _move(self, rows: int, columns: int) -> None:
        found = self._frontier()
        if isinstance(found, Frontier):
            row, column = self._at(found)
            self._cursor = (
                min(max(row + rows, 0), len(found.rows) - 1),
                min(max(column + columns, 0), len(found.amounts) - 1),
            )
            self.draw()

    # -- actions -----------------------------------------------------------------------------------------------------

    def action_column(self, step: int) -> None:
        """More or less of it."""
        self._move(0, step)

    async def action_cell(self, row: int, column: int) -> None:
        """The cursor onto that cell; a cell that has it already is adopted."""
        found = self._frontier()
        if isinstance(found, Frontier) and self._at(found) == (row, column):
            await self.action_adopt()
        else:
            self._cursor = (row, column)
            self.draw()

    async def action_adopt(self) -> None:
        """The cell under the cursor becomes the what-if."""
        found, what_if_session = self._frontier(), self.kvtop.what_if_session
        if (
            isinstance(found, Frontier)
            and what_if_session is not None
            and what_if_session.adopt(self._server_id, *self._at(found))
        ):
            await self.kvtop.switch_mode(WHAT_IF)
