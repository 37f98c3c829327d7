"""The first screen: every device's bar above, the table of servers below."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Region
from textual.widgets import Input

from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import DEVICES, OVERVIEW, SERVER
from kvtop.views.tui.screens.screen import KvtopScreen, bindings_of
from kvtop.views.tui.screens.server.page import preview_lines
from kvtop.views.tui.state.server_order import ORDERS
from kvtop.views.tui.widgets.canvas import Canvas
from kvtop.views.tui.widgets.device_bars import DeviceRow, device_lines, device_rows, legend
from kvtop.views.tui.widgets.empty_lines import looking_lines, no_match_lines, no_server_lines
from kvtop.views.tui.widgets.lines import Line, ascii_text
from kvtop.views.tui.widgets.server_table import server_rows, table_head, table_lines

_WITH_LEGEND = 16
"""From this height on there is room for the legend."""
_DEVICES_TENTHS = 3
"""Of the height, at most, for devices: servers are what one looks for."""
_PANELS = ("", "servers", "devices")
"""What `e` goes around: both, or one of them alone."""


class OverviewScreen(KvtopScreen):
    """Devices above, servers below."""

    key = OVERVIEW
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(OVERVIEW)

    expanded = ""
    _is_asking = False
    """The line for the words of the filter is open."""

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
            yield self.canvas("preview")

    def draw_body(self, frame: Frame | None, width: int) -> None:
        devices: tuple[DeviceRow, ...] = () if frame is None else device_rows(frame, self.kvtop.interval_seconds)
        self.query_one("#devices-box").display = bool(devices) and self.expanded != "servers"
        self.query_one("#servers-box").display = self.expanded != "devices"
        # All but header, footer, the devices box, two borders, the titles, and the line for the words of the filter.
        room = self.size.height - 5 - self._draw_devices(devices, width) - self._is_asking
        rows = self._draw_servers(frame, width)
        room -= self._draw_preview(frame, width, room - rows)
        self.query_one("#servers-scroll").styles.max_height = max(room, 1)

    def _draw_devices(self, devices: tuple[DeviceRow, ...], width: int) -> int:
        """The lines that the box takes."""
        height = self.size.height
        key = legend(width) if height >= _WITH_LEGEND else []
        alone = self.expanded == "devices"
        box = height - 4 - len(key)
        if not alone:
            box = max(height * _DEVICES_TENTHS // 10 - 2 - len(key), min(len(devices), height // 5))
        drawn = device_lines(devices, width, box)
        self.query_one("#devices-box").styles.max_height = "1fr" if alone else "60%"
        # The box must not grow over its share: the bars scroll, the legend stays.
        self.query_one("#devices-scroll").styles.max_height = max(box, 1)
        hidden = max(len(drawn) - max(box, 1), 0)
        title = f"Devices · {len(drawn) - hidden} of {len(drawn)}, e shows all" if hidden else "Devices"
        self._entitle("#devices-box", title)
        self.query_one("#devices", Canvas).show(drawn)
        self.query_one("#legend", Canvas).show(key)
        return 0 if not devices or self.expanded == "servers" else min(len(drawn), box) + len(key) + 2

    def _draw_servers(self, frame: Frame | None, width: int) -> int:
        """The lines that the table takes."""
        selection = self.kvtop.selection
        shown = selection.servers(frame)
        self._entitle("#servers-box", self._title(len(shown), len(frame.servers) if frame is not None else 0))
        # One column belongs to the scroll bar, whether it is there or not: columns must not jump.
        width -= 1
        head: list[Line] = []
        lines, cursor = [], None
        if frame is None or (frame.pending and not frame.servers):
            lines = looking_lines(frame, width)
        elif not frame.servers:
            lines = no_server_lines(frame, width)
        elif not shown:
            lines = no_match_lines(selection.words, width)
        else:
            cursor = selection.index(frame)
            rows = server_rows(shown, self.kvtop.trails)
            head = [table_head(rows, width, selection.order.column)]
            lines = table_lines(rows, width, cursor)
        self.query_one("#table-head", Canvas).show(head)
        self.query_one("#servers", Canvas).show(lines, cursor)
        return len(lines)

    def _draw_preview(self, frame: Frame | None, width: int, room: int) -> int:
        """The lines that it takes of the room below the table."""
        view = self.kvtop.selected()
        lines: list[Line] = []
        if frame is not None and view is not None and self.expanded != "devices":
            lines = preview_lines(view, frame, self.kvtop.trails.of(view.reading.id), width, room)
        self.query_one("#preview", Canvas).show(lines)
        return len(lines)

    def _title(self, shown: int, there: int) -> str:
        selection = self.kvtop.selection
        words = ["Servers"]
        if selection.words:
            words.append(f"{shown} of {there} with {selection.words!r}")
        if selection.order.key is not ORDERS[0].key or selection.is_reversed:
            words.append(f"by {selection.order.name}" + (", reversed" if selection.is_reversed else ""))
        return " · ".join(words)

    def _entitle(self, box: str, title: str) -> None:
        # Setting an equal title would draw the whole box anew.
        title = ascii_text(title) if self.kvtop.ascii_only else title
        widget = self.query_one(box)
        if widget.border_title != title:
            widget.border_title = title

    def move(self, lines: int) -> None:
        if self.expanded == "devices":
            self.query_one("#devices-scroll", VerticalScroll).scroll_relative(y=lines, animate=False)
            return
        self.kvtop.select(lines, wraps=False)
        self._show_cursor()

    def _show_cursor(self) -> None:
        self.draw()
        cursor = self.kvtop.selection.index(self.kvtop.frame)
        if cursor is not None:
            scroll = self.query_one("#servers-scroll", VerticalScroll)
            scroll.scroll_to_region(Region(0, cursor, 1, 1), animate=False, force=True)

    def works(self, action: str) -> bool:
        if action == "open":
            return self.kvtop.selected() is not None
        if action in {"filter", "sort"}:
            return self.kvtop.frame is not None and len(self.kvtop.frame.servers) > 1
        if action == "expand":
            return self.kvtop.frame is not None and bool(self.kvtop.frame.devices)
        if action == "close":
            return bool(self.kvtop.selection.words or self.expanded or self._is_asking)
        return super().works(action)

    # -- actions -----------------------------------------------------------------------------------------------------

    async def action_open(self) -> None:
        """Open the server under the cursor."""
        await self.kvtop.switch_mode(SERVER)

    async def action_filter(self) -> None:
        """Ask for the words."""
        if self._is_asking:
            return
        self._is_asking = True
        # Only now: an Input asks for the screen in front as it is mounted. With eager tasks (Python 3.12 and newer) the
        # parts of the first screen are mounted before that screen is on the stack.
        words = Input(self.kvtop.selection.words, "words that a server must have", id="filter", compact=True)
        # Its cursor must not blink: that would send bytes while nothing changes.
        words.cursor_blink = False
        await self.query_one("#servers-box").mount(words)
        self.set_focus(words)
        self.draw()

    def action_sort(self, column: str = "") -> None:
        """By the next column, or by the one of that title."""
        self.kvtop.selection.sort(column)
        self._show_cursor()

    def action_expand(self) -> None:
        """The next panel alone; after the last, both."""
        self.expanded = _PANELS[(_PANELS.index(self.expanded) + 1) % len(_PANELS)]
        self.draw()

    async def action_close(self) -> None:
        """The filter first, then the expanded panel."""
        if self.kvtop.selection.words or self._is_asking:
            await self._leave_filter("")
        else:
            self.expanded = ""
            self.draw()

    # -- the filter and the mouse ------------------------------------------------------------------------------------

    @on(Input.Changed)
    def _filter_typed(self, event: Input.Changed) -> None:
        if self._is_asking:
            self.kvtop.selection.find(event.value, self.kvtop.frame)
            self._show_cursor()

    @on(Input.Submitted)
    async def _filter_done(self, event: Input.Submitted) -> None:
        await self._leave_filter(event.value)

    async def _leave_filter(self, words: str) -> None:
        self._is_asking = False
        self.set_focus(None)
        await self.query("#filter").remove()
        self.kvtop.selection.find(words.strip(), self.kvtop.frame)
        self._show_cursor()

    @on(Canvas.LineClicked)
    async def _clicked(self, event: Canvas.LineClicked) -> None:
        if event.canvas.id == "devices":
            await self.kvtop.switch_mode(DEVICES)
        elif event.canvas.id == "servers" and event.line < len(self.kvtop.selection.servers(self.kvtop.frame)):
            self.kvtop.selection.put(event.line, self.kvtop.frame)
            self._show_cursor()
            if event.times > 1:
                await self.action_open()
