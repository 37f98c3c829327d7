"""The command palette: what it offers follows from the key table, the servers and the themes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from kvtop.views.tui.keys import KEYS, SERVER
from kvtop.views.tui.screens.screen import KvtopScreen
from kvtop.views.tui.widgets.model_names import model_text

if TYPE_CHECKING:
    from kvtop.views.tui.app import KvtopApp

_NAME_COLUMNS = 48


def palette_entries(app: "KvtopApp", screen: KvtopScreen) -> Iterator[SystemCommand]:
    """Every action that would do something on this screen now, then the servers, then the themes."""
    for key in KEYS:
        if screen.is_useful(key) and key.id not in {"palette", "interrupt"}:
            yield SystemCommand(
                key.meaning, f"{key.id}, key {app.shown_keys[key.id]}", _running(app, screen, key.target)
            )
    for view in app.frame.servers if app.frame is not None else ():
        name = model_text(view.reading.model.name or view.reading.model.path, _NAME_COLUMNS)
        yield SystemCommand(
            f"Go to {name}", f"{view.reading.engine} at {view.reading.id}", partial(_go, app, view.reading.id)
        )
    for theme in app.theme_names:
        yield SystemCommand(f"Theme {theme}", "Change the colours", partial(app.action_theme, theme))


def _running(app: "KvtopApp", screen: KvtopScreen, target: str) -> Callable[[], object]:
    # The palette is still the screen in front when it calls: "screen." would be the palette.
    action = target.removeprefix("screen.")
    return lambda: app.call_later(app.run_action, action, screen if action != target else app)


def _go(app: "KvtopApp", server_id: str) -> None:
    app.action_select(server_id)
    app.call_later(app.switch_mode, SERVER)
