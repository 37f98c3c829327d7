"""The dashboard: an iterator of frames in, pixels out. It never polls and never waits for the iterator."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import BindingType
from textual.command import CommandPalette
from textual.screen import Screen

from kvtop.domain.frame import Frame, ServerView
from kvtop.views.tui.keys import FRONTIER, HELP, OVERVIEW, RECORDING, SERVER, WHAT_IF, shown_keys, usable_keymap
from kvtop.views.tui.palette import palette_entries
from kvtop.views.tui.prompt_screens import PromptScreens
from kvtop.views.tui.quiet_end import EndsQuietly
from kvtop.views.tui.screens import SCREENS
from kvtop.views.tui.screens.header_footer import Pace, place_of
from kvtop.views.tui.screens.screen import KvtopScreen, bindings_of
from kvtop.views.tui.state.history import Trails
from kvtop.views.tui.state.player import SupportsReplay
from kvtop.views.tui.state.recorder import CaptureActions
from kvtop.views.tui.state.replay_keys import ReplayActions
from kvtop.views.tui.state.selection import Selection
from kvtop.views.tui.state.what_if_session import SupportsWhatIf
from kvtop.views.tui.terminal.hangup import force_exit, give_terminal_back, is_hung_up
from kvtop.views.tui.terminal.pace import QUESTION, TerminalPace
from kvtop.views.tui.themes.theme_files import load_themes, part_colours, themes_dir
from kvtop.views.tui.warm_up import AFTER_SECONDS, warm_up

Frames = Callable[[], AsyncIterator[Frame]] | AsyncIterator[Frame]

DEFAULT_THEME = "dark"
PALETTE_THEME = "terminal"
"""The terminal's own palette. With NO_COLOR too: for an ANSI theme Textual sends no colours at all, else greys."""

_GRACE_SECONDS = 0.3
"""How long a stopped iterator may take to tidy up before it is left behind."""


class KvtopApp(EndsQuietly, CaptureActions, ReplayActions, PromptScreens):
    """Shows frames as they come.

    `frames`: an async iterator of frames, or a function that makes one when the app is up.
    `theme_name`: a theme of kvtop or of `user_themes` (a directory of *.toml). `no_color` wins over it.
    `keymap`: key id -> key, from the user's configuration. `interval_seconds`: the refresh that is meant to be;
    data older than two of them is called old. `player` is who plays a recording, if one is played;
    `what_if_session` plans what-ifs. `on_exit` is called once, after the terminal has been restored.
    """

    CSS_PATH = "kvtop.tcss"
    TITLE = "kvtop"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("")
    MODES: ClassVar[dict[str, str | Callable[[], Screen[None]]]] = dict(SCREENS)
    DEFAULT_MODE = OVERVIEW

    def __init__(
        self,
        frames: Frames,
        *,
        theme_name: str | None = None,
        user_themes: Path | None = None,
        keymap: Mapping[str, str] | None = None,
        interval_seconds: float = 1.0,
        ascii_only: bool = False,
        no_color: bool = False,
        player: SupportsReplay | None = None,
        what_if_session: SupportsWhatIf | None = None,
        on_exit: Callable[[], None] | None = None,
    ) -> None:
        # Before super(): the first stylesheet already asks for the theme's variables.
        self.frame: Frame | None = None
        self.silent_seconds = 0.0
        self.interval_seconds = interval_seconds
        self.ascii_only = ascii_only
        self.before_help = OVERVIEW
        self.is_paused = False
        self.selection = Selection()
        self.trails = Trails()
        self.player = player
        self.what_if_session = what_if_session
        self._newest: Frame | None = None
        self._frames = frames
        self._on_exit = on_exit
        self._terminal_gone = False
        self._terminal = TerminalPace()
        self._is_behind = False
        """There is a newer frame than the one that is shown."""
        # Textual chooses its filter for NO_COLOR here, before a theme is set: greys, unless it is told of ANSI colours,
        # and those greys are black on black over the terminal's own palette.
        super().__init__(ansi_color=True if no_color else None)
        self.animation_level = "none"
        loaded = load_themes(themes_dir(), *([user_themes] if user_themes is not None else []))
        self._problems = list(loaded.problems)
        for theme in loaded.themes:
            self.register_theme(theme)
        self.theme_names = [theme.name for theme in loaded.themes]
        wanted = PALETTE_THEME if no_color else theme_name or DEFAULT_THEME
        if wanted not in self.theme_names:
            self._problems.append(f"no theme {wanted!r}; there are: {', '.join(self.theme_names)}")
            wanted = DEFAULT_THEME
        self.theme = wanted
        self._keys, wrong = usable_keymap(keymap or {})
        self._problems += wrong
        self.shown_keys = shown_keys(self._keys)
        if ascii_only:
            arrows = str.maketrans({"↑": "Up", "↓": "Down", "←": "Left", "→": "Right"})
            self.shown_keys = {name: text.translate(arrows) for name, text in self.shown_keys.items()}
            self.add_class("-ascii")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of the parts for a theme that names none: a user's theme needs only a name and a primary colour."""
        return part_colours(self.current_theme)

    def on_mount(self) -> None:
        self.set_keymap(self._keys)
        # The terminal comes back empty, and the toolkit draws only what changes from then on.
        self.app_resume_signal.subscribe(self, lambda _: self.refresh())
        self.set_interval(self.interval_seconds, self._tick)
        self.run_worker(self._follow(), name="frames", exclusive=True)
        if not self.is_headless:
            self.set_timer(AFTER_SECONDS, warm_up)
        for problem in self._problems:
            self.notify(problem, title="Configuration", severity="warning", timeout=10, markup=False)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._hang_up, number)
            except (ValueError, RuntimeError, NotImplementedError):
                # Not in the main thread (a test, an embedding program): its owner has the signals.
                break

    async def _follow(self) -> None:
        frames = self._frames() if callable(self._frames) else self._frames
        async for frame in frames:
            self.silent_seconds = 0.0
            self.trails.note(frame)
            self._newest = frame
            if not self.is_paused:
                self._take(frame)
        if self._newest is None:
            # Nothing was to be watched at all: whoever made the frames says why when the terminal is back.
            self.exit(return_code=2)

    def _take(self, frame: Frame) -> None:
        self.frame = frame
        self.selection.follow(frame)
        self._is_behind = True
        self._draw_when_ready()

    def _tick(self) -> None:
        self.silent_seconds += self.interval_seconds
        if not self.is_headless and is_hung_up():
            self._hang_up(signal.SIGHUP)
        elif self._is_behind or self.silent_seconds > 2 * self.interval_seconds:
            self._draw_when_ready()

    def _draw_when_ready(self) -> None:
        if self.screen_stack and self._terminal.may_draw(time.monotonic()):  # without a screen it is leaving
            self.draw_screen()

    def _ask_terminal(self) -> None:
        if self._driver is not None and self._terminal.should_ask():
            self._driver.write(QUESTION)
            self._driver.flush()
            self._terminal.asked(time.monotonic())

    def on_cursor_position(self) -> None:
        """The terminal's answer: it has drawn what it was sent."""
        self._terminal.answered(time.monotonic())
        if self._is_behind:
            self.set_timer(max(self._terminal.round_trip_seconds, 0.01), self._draw_when_ready)

    @property
    def pace(self) -> Pace:
        """How frames come, for the header."""
        slowed = self._terminal.slowed_seconds(self.interval_seconds)
        recorded = None if self.recorder is None else self.recorder.recording_seconds
        silent = 0.0 if self.player is not None and not self.player.is_playing else self.silent_seconds
        return Pace(self.interval_seconds, silent, self.is_paused, slowed, recorded, place_of(self.player))

    def draw_screen(self) -> None:
        """Shows what there is on the screen in front; a palette in front of it covers it."""
        screen = self.screen
        if isinstance(screen, KvtopScreen):
            before = screen.changes
            screen.draw()
            self._is_behind = False
            if screen.changes != before and not self.is_headless and not self.is_web:
                self.call_after_refresh(self._ask_terminal)

    def _hang_up(self, number: int) -> None:
        self._terminal_gone = number == signal.SIGHUP
        force_exit(128 + number)
        self.exit(return_code=128 + number)

    # -- the selected server -----------------------------------------------------------------------------------------

    def selected(self) -> ServerView | None:
        """The server under the cursor."""
        return self.selection.view(self.frame)

    def select(self, step: int, *, wraps: bool) -> None:
        """Moves the cursor, stopping at the ends or going around."""
        self.selection.move(self.frame, step, wraps=wraps)

    # -- actions, named in keys.py -----------------------------------------------------------------------------------

    async def action_leave(self) -> None:
        """Quit. An answer that is on its way is waited for: it would be typed into the shell."""
        begun = time.monotonic()
        while self._terminal.is_waiting and time.monotonic() - begun < _GRACE_SECONDS:
            await asyncio.sleep(0.01)
        self.exit()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Would this do anything now? A screen does not lead to itself."""
        if action == "show":
            return parameters[0] != self.current_mode
        if action in {"play", "step"}:
            return self.player is not None
        if action == "move":
            return isinstance(self.screen, KvtopScreen)
        return super().check_action(action, parameters)

    def has_something(self, screen: str) -> bool:
        """Is there anything on that screen but the words that say why there is nothing?"""
        if screen == RECORDING:
            return self.player is not None
        if screen in {SERVER, WHAT_IF, FRONTIER}:
            return self.selected() is not None and (screen == SERVER or self.what_if_session is not None)
        return True

    async def action_show(self, name: str) -> None:
        """To a screen."""
        await self.switch_mode(name)

    async def action_help(self) -> None:
        """To the help of this screen, or back from it."""
        if self.current_mode == HELP:
            await self.switch_mode(self.before_help)
            return
        self.before_help = self.current_mode or OVERVIEW
        await self.switch_mode(HELP)

    def action_move(self, lines: int) -> None:
        """Cursor or page."""
        if isinstance(self.screen, KvtopScreen):
            self.screen.move(lines)

    def action_pause(self) -> None:
        """Hold the picture; or go on with the newest."""
        self.is_paused = not self.is_paused
        if self._newest is not None and not self.is_paused:
            self._take(self._newest)
        self.draw_screen()

    def action_command_palette(self) -> None:
        """Every action by its name."""
        self.push_screen(CommandPalette(placeholder="What to do, a server or a theme"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette offers: every key that does something on this screen, every server, every theme."""
        if isinstance(screen, KvtopScreen):
            yield from palette_entries(self, screen)

    def action_select(self, server_id: str) -> None:
        """The cursor onto that server, whatever the filter."""
        self.selection.find("", self.frame)
        self.selection.server_id = server_id

    def action_theme(self, name: str) -> None:
        """That theme."""
        self.theme = name

    def action_next_theme(self) -> None:
        """Around the themes; its name is told."""
        index = self.theme_names.index(self.theme) if self.theme in self.theme_names else -1
        self.theme = self.theme_names[(index + 1) % len(self.theme_names)]
        self.notify(self.theme, title="Theme", timeout=1.5, markup=False)

    # -- the way out -------------------------------------------------------------------------------------------------

    def run_dashboard(self) -> int:
        """Runs until the person leaves; gives the exit status. Waits for nothing that does not stop when told to.

        Not `App.run`: that closes its loop in a way that waits for every task and thread, and a hung driver call is
        one. What is left behind keeps the interpreter from ending if it is a thread: the caller ends the process.
        """
        streams = sys.stdout, sys.stderr
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self.run_async())
            if self.problem is not None:
                raise self.problem
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=_GRACE_SECONDS))
        except BaseException:
            give_terminal_back(self._driver)
            raise
        finally:
            # The toolkit catches what is printed, and goes on with it where it did not end by itself.
            sys.stdout, sys.stderr = streams
            if not asyncio.all_tasks(loop):
                loop.close()
            asyncio.set_event_loop(None)
            if self._on_exit is not None:
                self._on_exit()
        return self.return_code or 0
