"""One server: its ledger, its slots, how it went, its options, and who says so."""

from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll

from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import SERVER
from kvtop.views.tui.screens.screen import PageScreen, bindings_of
from kvtop.views.tui.screens.server.page import EXPANDABLE, PageView, Panel, detail_lines
from kvtop.views.tui.widgets.empty_lines import looking_lines
from kvtop.views.tui.widgets.lines import Line
from kvtop.views.tui.widgets.model_names import model_text
from kvtop.views.tui.widgets.plot_lines import SPANS


class ServerScreen(PageScreen):
    """The page of the selected server."""

    key = SERVER
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(SERVER)

    def __init__(self) -> None:
        super().__init__()
        self._panel = Panel.ALL
        self._span = 1

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        if frame is None:
            return "Server", looking_lines(None, width)
        view = self.kvtop.selected()
        title = "Server"
        if view is not None:
            title = model_text(view.reading.model.name or view.reading.model.path or view.reading.id, width - 24)
        if self._panel is not Panel.ALL:
            title += f" · {self._panel.value}"
        trail = self.kvtop.trails.of(view.reading.id if view is not None else "")
        # Header, footer and the two borders.
        look = PageView(self._panel, SPANS[self._span], width, self.size.height - 4)
        return title, detail_lines(view, frame, trail, look)

    def works(self, action: str) -> bool:
        if action == "neighbour":
            return len(self.kvtop.selection.servers(self.kvtop.frame)) > 1
        if action in {"expand", "derivation"}:
            return self.kvtop.selected() is not None
        if action == "zoom":
            return self._panel in {Panel.ALL, Panel.HISTORY} and self.kvtop.selected() is not None
        return super().works(action)

    # -- actions -----------------------------------------------------------------------------------------------------

    def action_neighbour(self, step: int) -> None:
        """To another server."""
        self.kvtop.select(step, wraps=True)
        self.draw()

    def action_expand(self) -> None:
        """The next panel alone; after the last, the whole page."""
        index = EXPANDABLE.index(self._panel) if self._panel in EXPANDABLE else 0
        self._show(EXPANDABLE[(index + 1) % len(EXPANDABLE)])

    def action_derivation(self) -> None:
        """How the computed numbers follow; again to go back."""
        self._show(Panel.ALL if self._panel is Panel.DERIVATION else Panel.DERIVATION)

    def action_zoom(self, step: int) -> None:
        """A shorter or a longer time in the plots."""
        self._span = min(max(self._span + step, 0), len(SPANS) - 1)
        self.draw()

    async def action_back(self) -> None:
        if self._panel is Panel.ALL:
            await super().action_back()
        else:
            self._show(Panel.ALL)

    def _show(self, panel: Panel) -> None:
        self._panel = panel
        self.query_one("#page-scroll", VerticalScroll).scroll_home(animate=False)
        self.draw()
