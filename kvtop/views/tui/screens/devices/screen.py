"""Every device in full: heat, power, utilisation, clocks, slices, and who is on it."""

from typing import ClassVar

from textual.binding import BindingType

from kvtop.domain.frame import Frame
from kvtop.views.tui.keys import DEVICES
from kvtop.views.tui.screens.devices.page import device_page_lines
from kvtop.views.tui.screens.screen import PageScreen, bindings_of
from kvtop.views.tui.widgets.lines import Line


class DevicesScreen(PageScreen):
    """A section a device."""

    key = DEVICES
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(DEVICES)

    def page(self, frame: Frame | None, width: int) -> tuple[str, list[Line]]:
        return "Devices", device_page_lines(frame, self.kvtop.interval_seconds, width)
