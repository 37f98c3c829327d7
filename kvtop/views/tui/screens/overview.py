"""The first screen: every device's bar above, the table of servers below."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Region

from kvtop.domain.frame import Frame
from kvtop.views.tui.canvas import Canvas
from kvtop.views.tui.device_lines import DeviceRow, device_lines, device_rows, legend
from kvtop.views.tui.keys import OVERVIEW, SERVER
from kvtop.views.tui.screens.screen import KvtopScreen, bindings_of
from kvtop.views.tui.server_lines import ServerRow, empty_lines, server_rows, table_head, table_lines


class OverviewScreen(KvtopScreen):
    """Devices above, servers below."""

    key = OVERVIEW
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(OVERVIEW)

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

    def works(self, action: str) -> bool:
        return self.kvtop.selected() is not None if action == "open" else super().works(action)

    async def action_open(self) -> None:
        """Into the server under the cursor."""
        await self.kvtop.switch_mode(SERVER)
