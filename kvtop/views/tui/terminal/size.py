"""The size that the terminal has, where the toolkit believes another.

An exported COLUMNS or LINES is the size of some shell at some time, and the toolkit would never see another.

Textual 8.2 reads the size inside its handler of SIGWINCH and posts it from there. Python runs a second signal's handler
in the middle of the first: the older size is then posted last, and stays until the next change.
"""

import os
import shutil
import sys
from contextlib import suppress

from textual import events
from textual.app import App
from textual.geometry import Size


def forget_exported_size() -> None:
    """Takes COLUMNS and LINES out of the environment where the terminal itself tells its size."""
    with suppress(OSError, ValueError):
        if sys.__stderr__ is not None and all(os.get_terminal_size(sys.__stderr__.fileno())):
            for name in ("COLUMNS", "LINES"):
                os.environ.pop(name, None)


def mend_size(app: App[None]) -> None:
    """Tells the app of its terminal's size where it draws for another. Without a terminal it does nothing."""
    if app.is_headless or app.is_web:
        return
    there = Size(*shutil.get_terminal_size((0, 0)))  # as the toolkit asks
    if there.area and there != app.size:
        app.post_message(events.Resize(there, there))
