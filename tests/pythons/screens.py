"""A walk through every screen of a dashboard that runs on a terminal, and out of it."""

from kvtop.views.tui.keys import KEYS, SCREEN_NAMES
from tests.terminal import Terminal

SHOW = "show('"


def walk(terminal: Terminal) -> None:
    """Every screen that has a key, the help, the palette and the filter, one after the other.

    The host must have several servers: with one there is nothing to filter. Raises AssertionError with the screen as it
    was where one does not come.
    """
    terminal.read_until_shown("Servers", "filter")
    for key in KEYS:
        if key.action.startswith(SHOW):
            name = key.action.removeprefix(SHOW).removesuffix("')")
            terminal.type(key.shown[0].encode())
            terminal.read_until_shown("Servers" if name == "overview" else f"╭─ {SCREEN_NAMES[name]}")
    terminal.type(b"?")
    terminal.read_until_shown("Keys on this screen")
    terminal.type(b"1")
    terminal.read_until_shown("Servers")
    terminal.type(b":")
    terminal.read_until_shown("What to do")
    terminal.type(b"\x1b")
    terminal.read_until_gone("What to do")  # it lies over the overview, whose words stand beside it
    terminal.read_until_shown("Servers", "filter")
    terminal.type(b"/")
    terminal.read_until_shown("words that a server must have")
    terminal.type(b"zzz")
    terminal.read_until_shown("with 'zzz'")
    terminal.type(b"\x1b")
    terminal.read_until_shown("─ Servers ─")


def leave(terminal: Terminal) -> None:
    """The key that ends it; the status must be 0."""
    terminal.type(b"q")
    status = terminal.ended()
    assert status == 0, f"it ended with {status}"
