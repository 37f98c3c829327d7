"""The size that the terminal has, where the toolkit believes another.

Textual 8.2 reads the size inside its handler of SIGWINCH and posts it from there. Python runs a second signal's handler
in the middle of the first: the older size is then posted last, and stays until the next change.
"""

import shutil

from textual import events
from textual.app import App
from textual.geometry import Size


def mend_size(app: App[None]) -> None:
    """Tells the app of its terminal's size where it draws for another. Without a terminal it does nothing."""
    if app.is_headless or app.is_web:
        return
    there = Size(*shutil.get_terminal_size((0, 0)))  # as the toolkit asks
    if there.area and there != app.size:
        app.post_message(events.Resize(there, there))
