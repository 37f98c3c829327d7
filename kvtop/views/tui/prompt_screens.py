"""An app that shows another screen within the 50 ms that a key may take."""

from textual.app import App

SWITCH_SECONDS = 0.015
"""How long a change of screens is masked. Ours draw all their lines as they come; only their parts must be mounted."""


class PromptScreens(App[None]):
    """The toolkit masks each change of screens for 50 ms (`App.delay_update`, Textual 8), whatever the change needs."""

    def delay_update(self, delay: float = SWITCH_SECONDS) -> None:
        super().delay_update(delay)
