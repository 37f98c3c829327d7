"""The screens: one file each, listed here by the name that keys.py gives them."""

from collections.abc import Callable, Mapping

from textual.screen import Screen

from kvtop.views.tui.screens.devices import DevicesScreen
from kvtop.views.tui.screens.findings import FindingsScreen
from kvtop.views.tui.screens.frontier import FrontierScreen
from kvtop.views.tui.screens.help import HelpScreen
from kvtop.views.tui.screens.overview import OverviewScreen
from kvtop.views.tui.screens.recording import RecordingScreen
from kvtop.views.tui.screens.screen import KvtopScreen
from kvtop.views.tui.screens.server import ServerScreen
from kvtop.views.tui.screens.sources import SourcesScreen
from kvtop.views.tui.screens.what_if import WhatIfScreen

_SCREENS: tuple[type[KvtopScreen], ...] = (
    *(OverviewScreen, ServerScreen, WhatIfScreen, FrontierScreen),
    *(FindingsScreen, DevicesScreen, RecordingScreen, SourcesScreen, HelpScreen),
)

SCREENS: Mapping[str, Callable[[], Screen[None]]] = {screen.key: screen for screen in _SCREENS}
"""Name -> what makes the screen."""
