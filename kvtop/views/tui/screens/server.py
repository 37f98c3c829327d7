"""One server: its ledger, its slots, its options, and who says so."""

from typing import ClassVar

from textual.binding import BindingType

from kvtop.domain.frame import Frame, ServerView
from kvtop.views.tui.detail_lines import detail_lines
from kvtop.views.tui.keys import SERVER
from kvtop.views.tui.lines import Line, model_text
from kvtop.views.tui.screens.screen import PageScreen, bindings_of
from kvtop.views.tui.server_lines import empty_lines


class ServerScreen(PageScreen):
    """The ledger of the selected server."""

    key = SERVER
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(SERVER)

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        if frame is None:
            return "Server", empty_lines(None, width)
        view: ServerView | None = self.kvtop.selected()
        title = "Server"
        if view is not None:
            title = model_text(view.reading.model.name or view.reading.model.path or view.reading.id, width - 4)
        return title, detail_lines(view, frame, width)

    def works(self, action: str) -> bool:
        if action == "neighbour":
            return self.kvtop.frame is not None and len(self.kvtop.frame.servers) > 1
        return super().works(action)

    def action_neighbour(self, step: int) -> None:
        """To another server."""
        self.kvtop.select(step, wraps=True)
        self.draw()
