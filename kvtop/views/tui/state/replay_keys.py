"""The keys that move a recording, on every screen: it is on the other screens that one watches it."""

from typing import TYPE_CHECKING

from kvtop.views.tui.state.player import SupportsReplay

if TYPE_CHECKING:
    from textual.app import App

    _App = App[None]
else:
    _App = object  # a part of the app, mixed in before Textual's own class


class ReplayActions(_App):
    """`player` is None where no recording is played; the keys are free for others then."""

    player: SupportsReplay | None = None

    def action_play(self) -> None:
        """Play or hold."""
        if self.player is not None:
            self.player.toggle()
            self.draw_screen()

    def action_step(self, samples: int) -> None:
        """Hold, and one sample on or back."""
        if self.player is not None:
            self.player.step(samples)
            self.draw_screen()

    def draw_screen(self) -> None:
        """Show the screen in front anew."""
        raise NotImplementedError
