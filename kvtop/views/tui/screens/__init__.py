"""The screens: one file each, listed here by the name that keys.py gives them."""

from collections.abc import Callable, Mapping

from textual.screen import Screen

from kvtop.views.tui.screens.devices.screen import DevicesScreen
from kvtop.views.tui.screens.findings.screen import FindingsScreen
from kvtop.views.tui.screens.frontier.screen import FrontierScreen
from kvtop.views.tui.screens.help.screen import HelpScreen
from kvtop.views.tui.screens.overview.screen import OverviewScreen
from kvtop.views.tui.screens.recording.screen import RecordingScreen
from kvtop.views.tui.screens.screen import KvtopScreen
from kvtop.views.tui.screens.server.screen import ServerScreen
from kvtop.views.tui.screens.sources.screen import SourcesScreen
from kvtop.views.tui.screens.what_if.screen import WhatIfScreen

_SCREENS: tuple[type[KvtopScreen], ...] = (
    *(OverviewScreen, ServerScreen, WhatIfScreen, FrontierScreen),
    *(FindingsScreen, DevicesScreen, RecordingScreen, SourcesScreen, HelpScreen),
)

SCREENS: Mapping[str, Callable[[], Screen[None]]] = {screen.key: screen for screen in _SCREENS}
"""Name -> what makes the screen."""
