"""The four screens: which lines stand where. What the lines say is decided in the *_lines modules, without Textual."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Region
from textual.screen import Screen
from textual.scrollbar import ScrollBarRender

from kvtop.domain.frame import Frame, ServerView
from kvtop.views.tui.canvas import Canvas
from kvtop.views.tui.detail_lines import detail_lines
from kvtop.views.tui.device_lines import DeviceRow, device_lines, device_rows, legend
from kvtop.views.tui.keys import HELP, OVERVIEW, SERVER, SOURCES
from kvtop.views.tui.lines import Line, model_text
from kvtop.views.tui.page_lines import footer_line, header_line, help_lines, sources_lines
from kvtop.views.tui.server_lines import ServerRow, empty_lines, server_rows, table_head, table_lines

if TYPE_CHECKING:
    from kvtop.views.tui.app import KvtopApp

_BOX_COLUMNS = 4
"""Border and padding, both sides."""


class AsciiScrollBar(ScrollBarRender):
    """A scroll bar of background colour alone, without the half blocks at its ends."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.VERTICAL_BARS)


class KvtopScreen(Screen[None]):
    """Header, a body of boxes, footer. `draw` is called with a new frame, a new size and a new theme alike."""

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

    def draw(self) -> None:
        """Shows the app's newest frame; what is equal to what is shown costs nothing."""
        app, width = self.kvtop, self.size.width
        if not self.is_mounted or width == 0:
            return
        header = header_line(app.frame, app.silent_seconds, app.interval_seconds, width)
        self.query_one("#header", Canvas).show([header])
        self.query_one("#footer", Canvas).show([footer_line(self.key, app.shown_keys, width)])
        self.draw_body(app.frame, max(width - _BOX_COLUMNS, 8))

    def on_mount(self) -> None:
        if self.kvtop.ascii_only:
            for scroll in self.query(VerticalScroll):
                scroll.vertical_scrollbar.renderer = AsciiScrollBar  # type: ignore[misc]  # for this bar, not its class

    def on_resize(self, _event: events.Resize) -> None:
        self.draw()

    def on_screen_resume(self) -> None:
        self.draw()


class OverviewScreen(KvtopScreen):
    """Devices above, servers below."""

    key = OVERVIEW

    def body(self) -> ComposeResult:
        with Vertical(id="devices-box", classes="box") as devices:
            devices.border_title = "Devices"
            with VerticalScroll(id="devices-scroll", can_focus=False):
                yield self.canvas("devices")
            yield self.canvas("legend")
        with Vertical(id="servers-box", classes="box") as servers:
            servers.border_title = "Servers"
            yield self.canvas("table-head")
            with VerticalScroll(id="servers-scroll", can_focus=False):
                yield self.canvas("servers")

    def draw_body(self, frame: Frame | None, width: int) -> None:
        devices: tuple[DeviceRow, ...] = () if frame is None else device_rows(frame, self.kvtop.interval_seconds)
        servers: tuple[ServerRow, ...] = () if frame is None else server_rows(frame)
        key = legend(width)
        box = self.size.height * 6 // 10 - 2 - len(key)
        drawn = device_lines(devices, width, min(box, self.size.height - 7 - len(key) - min(len(servers), 8)))
        self.query_one("#devices-box").display = bool(devices)
        # The box must not grow over its 60 %: the bars scroll, the legend stays.
        self.query_one("#devices-scroll").styles.max_height = max(box, 1)
        self.query_one("#devices", Canvas).show(drawn)
        self.query_one("#legend", Canvas).show(key)
        cursor = self.kvtop.selected_index()
        table = self.query_one("#servers", Canvas)
        # One column belongs to the scroll bar, whether it is there or not: columns must not jump.
        if servers:
            self.query_one("#table-head", Canvas).show([table_head(width - 1)])
            table.show(table_lines(servers, width - 1, cursor), cursor)
        else:
            self.query_one("#table-head", Canvas).show([])
            table.show(empty_lines(frame, width - 1))

    def move(self, lines: int) -> None:
        self.kvtop.select(lines, wraps=False)
        self.draw()
        cursor = self.kvtop.selected_index()
        if cursor is not None:
            scroll = self.query_one("#servers-scroll", VerticalScroll)
            scroll.scroll_to_region(Region(0, cursor, 1, 1), animate=False, force=True)


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


class ServerScreen(PageScreen):
    """The ledger of the selected server."""

    key = SERVER

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        if frame is None:
            return "Server", empty_lines(None, width)
        view: ServerView | None = self.kvtop.selected()
        title = "Server"
        if view is not None:
            title = model_text(view.reading.model.name or view.reading.model.path or view.reading.id, width - 4)
        return title, detail_lines(view, frame, width)


class SourcesScreen(PageScreen):
    """Failures and pending probes."""

    key = SOURCES

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        return "Sources", sources_lines(frame, width)


class HelpScreen(PageScreen):
    """Keys of the screen before, and every glyph."""

    key = HELP

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        version = frame.kvtop_version if frame is not None else ""
        return "Help", help_lines(self.kvtop.before_help, self.kvtop.shown_keys, version, width)
