"""The keys of the screen that the person came from, and the meaning of every glyph."""

from typing import ClassVar

from textual.binding import BindingType

from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import HELP
from kvtop.views.tui.screens.help.page import help_lines
from kvtop.views.tui.screens.screen import PageScreen, bindings_of
from kvtop.views.tui.widgets.lines import Line


class HelpScreen(PageScreen):
    """Keys of the screen before, and every glyph."""

    key = HELP
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(HELP)

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        version = frame.kvtop_version if frame is not None else ""
        return "Help", help_lines(self.kvtop.before_help, self.kvtop.shown_keys, version, width)

    async def action_back(self) -> None:
        await self.kvtop.switch_mode(self.kvtop.before_help)
