"""What the selected server would take with other options."""

from typing import ClassVar

from textual.binding import BindingType

from kvtop.domain.answers.what_if import WhatIfAnswer
from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import SERVER, WHAT_IF
from kvtop.views.tui.screens.screen import PageScreen, bindings_of
from kvtop.views.tui.screens.what_if.page import recommendation_lines, what_if_lines
from kvtop.views.tui.widgets.empty_lines import unasked_lines
from kvtop.views.tui.widgets.lines import Line
from kvtop.views.tui.widgets.model_names import model_text


class WhatIfScreen(PageScreen):
    """Dials turn on a key press; now and then stand side by side."""

    key = WHAT_IF
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(WHAT_IF)

    def __init__(self) -> None:
        super().__init__()
        self._recommends = False

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        answer = self._answer()
        if isinstance(answer, str):
            return "What if", unasked_lines(answer, frame, width)
        lines = what_if_lines(answer, self.kvtop.shown_keys, width)
        if self._recommends and self.kvtop.what_if_session is not None:
            lines += recommendation_lines(self.kvtop.what_if_session.recommend(answer.server_id), width)
        return f"What if: {model_text(answer.model, max(width - 24, 8))}", lines

    def works(self, action: str) -> bool:
        if action in {"turn", "reset", "copy", "recommend"}:
            answer = self._answer()
            if not isinstance(answer, WhatIfAnswer):
                return False
            return {"reset": answer.is_turned, "copy": answer.is_changed}.get(action, True)
        return super().works(action)

    def _answer(self) -> WhatIfAnswer | str:
        view, what_if_session = self.kvtop.selected(), self.kvtop.what_if_session
        if view is None or what_if_session is None:
            return "There is no server to plan for."
        return what_if_session.ask(view.reading.id)

    # -- actions -----------------------------------------------------------------------------------------------------

    def action_turn(self, knob: str, step: int) -> None:
        """A knob, up or down."""
        view, what_if_session = self.kvtop.selected(), self.kvtop.what_if_session
        if view is not None and what_if_session is not None and not what_if_session.turn(view.reading.id, knob, step):
            self.app.bell()
        self.draw()

    def action_reset(self) -> None:
        """Back to how the server runs."""
        view, what_if_session = self.kvtop.selected(), self.kvtop.what_if_session
        if view is not None and what_if_session is not None:
            what_if_session.reset(view.reading.id)
        self.draw()

    def action_copy(self) -> None:
        """The command, to the clipboard and where else it can be found."""
        answer = self._answer()
        if isinstance(answer, WhatIfAnswer):
            self.kvtop.copy(answer.command)

    def action_recommend(self) -> None:
        """Configurations worth trying; again to hide them."""
        self._recommends = not self._recommends
        self.draw()

    async def action_back(self) -> None:
        await self.kvtop.switch_mode(SERVER)
