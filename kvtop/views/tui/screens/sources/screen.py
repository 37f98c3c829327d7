"""What could not be read, what to do about it, and what has not answered yet."""

from typing import ClassVar

from textual.binding import BindingType

from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import SOURCES
from kvtop.views.tui.screens.screen import PageScreen, bindings_of
from kvtop.views.tui.screens.sources.page import sources_lines
from kvtop.views.tui.widgets.lines import Line


class SourcesScreen(PageScreen):
    """Failures and pending probes."""

    key = SOURCES
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(SOURCES)

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        return "Sources", sources_lines(frame, width)
