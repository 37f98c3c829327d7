"""What every screen has: header, body, footer, its own keys. What the lines say is decided in the *_lines modules."""

from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.scrollbar import ScrollBarRender

from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import KEYS, OVERVIEW, Key
from kvtop.views.tui.screens.header_footer import footer_line, header_line
from kvtop.views.tui.terminal.size import mend_size
from kvtop.views.tui.widgets.canvas import Canvas
from kvtop.views.tui.widgets.lines import Line

if TYPE_CHECKING:
    from kvtop.views.tui.app import KvtopApp

_BOX_COLUMNS = 4
"""Border and padding, both sides."""


def bindings_of(screen: str) -> list[BindingType]:
    """The keys that belong to this screen alone; their actions are methods of the screen. "" gives the app's keys."""
    return [
        Binding(key.keys, key.action, key.footer or key.meaning, id=key.id, priority=key.id == "interrupt")
        for key in KEYS
        if (screen in key.screens if screen else not key.screens)
    ]


class AsciiScrollBar(ScrollBarRender):
    """A scroll bar of background colour alone, without the half blocks at its ends."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.VERTICAL_BARS)


class KvtopScreen(Screen[None]):
    """Header, a body of boxes, footer. `draw` is called with a new frame, a new size and a new theme alike."""

    AUTO_FOCUS = ""
    key = ""

    @property
    def kvtop(self) -> "KvtopApp":
        """The app, by its own type."""
        return cast("KvtopApp", self.app)

    def canvas(self, name: str) -> Canvas:
        """A canvas that follows the glyph setting of the app."""
        return Canvas(ascii_only=self.kvtop.ascii_only, id=name)

    def compose(self) -> ComposeResult:
        yield self.canvas("header")
        yield from self.body()
        yield self.canvas("footer")

    def body(self) -> ComposeResult:
        """What stands between header and footer."""
        raise NotImplementedError

    def draw_body(self, frame: Frame | None, width: int) -> None:
        """Fills the body's canvases."""
        raise NotImplementedError

    def move(self, lines: int) -> None:
        """The cursor or the page, down by `lines`."""
        self.query_one("#page-scroll", VerticalScroll).scroll_relative(y=lines, animate=False)

    @property
    def changes(self) -> int:
        """How often something else was shown, over all canvases."""
        return sum(canvas.changes for canvas in self.query(Canvas))

    def draw(self) -> None:
        """Shows the app's newest frame; what is equal to what is shown costs nothing."""
        mend_size(self.kvtop)
        if self.is_mounted and self.size.width:
            # Coming or going, a screen has not all of its parts, and nobody looks at it.
            with suppress(NoMatches):
                self._draw_parts(self.size.width)

    def _draw_parts(self, width: int) -> None:
        app = self.kvtop
        header = header_line(app.frame, app.pace, width)
        self.query_one("#header", Canvas).show([header])
        useful = [key for key in KEYS if key.footer and self.is_useful(key)]
        self.query_one("#footer", Canvas).show([footer_line(useful, app.shown_keys, width)])
        is_stale = app.pace.is_stale
        for canvas in self.query(Canvas):
            canvas.set_stale(is_stale and canvas.id not in {"header", "footer"})
        self.draw_body(app.frame, max(width - _BOX_COLUMNS, 8))

    def works(self, action: str) -> bool:
        """Would this action of ours do anything now? Where it would not, its key is free for the app's own."""
        return hasattr(self, f"action_{action}")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.works(action) and super().check_action(action, parameters)

    def is_useful(self, key: Key) -> bool:
        """Does this key lead to anything here and now? The footer shows no other."""
        if not key.on(self.key):
            return False
        _, action, parameters = parse(key.action)
        if action == "show" and not self.kvtop.has_something(str(parameters[0])):
            return False
        return bool((self if key.screens else self.app).check_action(action, parameters))

    async def action_back(self) -> None:
        """Up."""
        await self.kvtop.switch_mode(OVERVIEW)

    def on_mount(self) -> None:
        if self.kvtop.ascii_only:
            for scroll in self.query(VerticalScroll):
                scroll.vertical_scrollbar.renderer = AsciiScrollBar  # type: ignore[misc]  # for this bar, not its class

    def on_resize(self, _event: events.Resize) -> None:
        self.draw()

    def on_screen_resume(self) -> None:
        self.draw()


class PageScreen(KvtopScreen):
    """One box that scrolls."""

    def body(self) -> ComposeResult:
        with Vertical(id="page-box", classes="box"), VerticalScroll(id="page-scroll", can_focus=False):
            yield self.canvas("page")

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        """The box's title and its lines."""
        raise NotImplementedError

    def draw_body(self, frame: Frame | None, width: int) -> None:
        title, lines = self.page(frame, width - 1)
        box = self.query_one("#page-box")
        if box.border_title != title:
            box.border_title = title
        self.query_one("#page", Canvas).show(lines)
