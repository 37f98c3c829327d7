"""What deserves attention on every server, with the evidence and the fix."""

from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.geometry import Region

from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import FINDINGS, SERVER, WHAT_IF
from kvtop.views.tui.screens.findings.page import FoundOn, all_findings, findings_lines
from kvtop.views.tui.screens.screen import PageScreen, bindings_of
from kvtop.views.tui.widgets.canvas import Canvas
from kvtop.views.tui.widgets.lines import Line


class FindingsScreen(PageScreen):
    """A list with a cursor; Enter plans for the server of a finding, y copies its fix, x explains its rule."""

    key = FINDINGS
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(FINDINGS)

    def __init__(self) -> None:
        super().__init__()
        self._cursor = 0
        self._starts: list[int] = []
        self._is_explained = False

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        count = len(all_findings(frame))
        self._cursor = max(min(self._cursor, count - 1), 0)
        lines, self._starts = findings_lines(frame, self._cursor, width, self._explanation())
        return f"Findings ({count})" if count else "Findings", lines

    def move(self, lines: int) -> None:
        if not self._starts:
            super().move(lines)
            return
        self._cursor = min(max(self._cursor + lines, 0), len(self._starts) - 1)
        self.draw()
        page = self.query_one("#page", Canvas)
        top = self._starts[self._cursor]
        end = self._starts[self._cursor + 1] if self._cursor + 1 < len(self._starts) else page.size.height
        self.query_one("#page-scroll", VerticalScroll).scroll_to_region(
            Region(0, top, 1, max(end - top, 1)), animate=False, force=True
        )

    def works(self, action: str) -> bool:
        if action == "copy":
            return bool(self._starts) and bool(self._found().finding.fix)
        if action == "explain":
            return bool(self._starts) and self.kvtop.explain is not None
        return bool(self._starts) if action == "open" else super().works(action)

    def _found(self) -> FoundOn:
        found = all_findings(self.kvtop.frame)
        return found[min(self._cursor, len(found) - 1)]

    def _explanation(self) -> str:
        """The page of the rule under the cursor, while it is wanted."""
        explain = self.kvtop.explain
        if not self._is_explained or explain is None or not all_findings(self.kvtop.frame):
            return ""
        return explain(self._found().finding.code)

    async def action_open(self) -> None:
        """To what the server would take with other options; where nothing can be planned, to the server."""
        self.kvtop.selection.words = ""
        self.kvtop.selection.server_id = self._found().server_id
        await self.kvtop.switch_mode(SERVER if self.kvtop.what_if_session is None else WHAT_IF)

    def action_copy(self) -> None:
        """The fix."""
        self.kvtop.copy(self._found().finding.fix)

    def action_explain(self) -> None:
        """What the rule is about; again to hide it."""
        self._is_explained = not self._is_explained
        self.draw()

    @on(Canvas.LineClicked)
    async def _clicked(self, event: Canvas.LineClicked) -> None:
        before = [index for index, start in enumerate(self._starts) if start <= event.line]
        if event.canvas.id == "page" and before:
            self._cursor = before[-1]
            self.draw()
            if event.times > 1:
                await self.action_open()
