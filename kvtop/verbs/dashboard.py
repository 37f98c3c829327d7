"""`kvtop`: the dashboard in this terminal."""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kvtop.app.flags import config_of, warn
from kvtop.config import Config, ConfigError, config_directory, config_file, environment
from kvtop.domain.frame import Frame
from kvtop.domain.sample import PROCESSES
from kvtop.io.copied_text import CopiedText
from kvtop.io.terminal_guard import guarded_terminal
from kvtop.text import bytes_text, visible
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.crash import leave, told
from kvtop.verbs.themes import check_theme
from kvtop.views.export.snapshot.formats import render
from kvtop.views.text.plain_lines import Announcer
from kvtop.views.tui.app import PALETTE_THEME, KvtopApp
from kvtop.views.tui.keys import check_keymap
from kvtop.views.tui.state.player import SupportsReplay
from kvtop.views.tui.terminal.kind import TerminalKind, tell_of_colours, terminal_kind
from kvtop.views.tui.terminal.size import forget_exported_size

if TYPE_CHECKING:
    from kvtop.app.capture import Recorder
    from kvtop.app.what_if_session import WhatIfSession


COPIED_LIMIT = 20_000
READING_SECONDS = 4.0
"""How long the result of a look at an empty machine stays before the demo covers it."""


def run(args: argparse.Namespace) -> int:
    """Draw until the person leaves. Never returns to a thread that hangs inside a driver."""
    config = config_of(args)
    if args.accessible:
        from kvtop.app.frames import frames, samples_of  # noqa: PLC0415  see _Late

        return _speak(frames(samples_of(args, config)))
    # Textual draws on stderr; without a terminal there it would write escape codes into somebody's log.
    is_in_browser = bool(environment().get("TEXTUAL_DRIVER"))
    if not is_in_browser and not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        warn("the dashboard needs a terminal; for a pipe or a file use `kvtop snapshot --json`")
        return exit_codes.USAGE
    if not is_in_browser and not terminal_kind(environment()).can_place:
        term = visible(environment().get("TERM", ""))
        warn(f"the terminal {term!r} cannot place text; `kvtop --accessible` prints changes as lines")
        return exit_codes.USAGE
    if args.or_demo and args.demo is None and _nothing_to_watch(args, config):
        args.demo = ""
    late = _Late(args, config)
    late.app = app_of(args, config, late.frames)
    status = shown_to_the_end(late.app)
    if late.problem is not None:
        warn(str(late.problem))
        status = exit_codes.USAGE
    return _leave(status, late.recorder, late.app)


class _Late:
    """Sources and analysis take longer to import than the first picture may: they come after it, in a thread."""

    def __init__(self, args: argparse.Namespace, config: Config) -> None:
        self._args, self._config = args, config
        self.app: KvtopApp | None = None
        self.recorder: Recorder | None = None
        self.problem: ConfigError | None = None

    async def frames(self) -> AsyncIterator[Frame]:
        """What is watched. A bad option ends it, and the app with it; `problem` then says which."""
        assert self.app is not None, "the app runs before frames are requested"
        painted = asyncio.Event()
        self.app.call_after_refresh(painted.set)
        await painted.wait()
        try:
            shown = await asyncio.to_thread(self._wired)
        except ConfigError as error:
            self.problem = error
            return
        async for frame in shown():
            yield frame

    def _wired(self) -> Callable[[], AsyncIterator[Frame]]:
        from kvtop.app.capture import NoCapture, Recorder  # noqa: PLC0415
        from kvtop.app.frames import frames, samples_of, suppressions_of  # noqa: PLC0415
        from kvtop.app.what_if_session import WhatIfSession  # noqa: PLC0415

        assert self.app is not None, "the app runs before frames are requested"
        what_if_session = self.app.what_if_session = WhatIfSession(environment())
        samples = samples_of(self._args, self._config)
        if environment().get("TEXTUAL_DRIVER"):
            # Who presses a key in a browser is not who owns the folder in which `kvtop serve` was started.
            self.app.recorder = NoCapture("a browser tab writes no files: use `kvtop snapshot` or `kvtop record` there")
        else:
            self.recorder = self.app.recorder = Recorder(Path.cwd(), self._config.interval_seconds, render)
            self.recorder.tell = self.app.say
            samples = self.recorder.watched(samples)
        return frames(samples, suppressions_of(self._config), what_if_session.note, what_if_session.read_own)


def _speak(shown: Callable[[], AsyncIterator[Frame]]) -> int:
    """Changes as plain lines on stdout, until interrupted. Works in a pipe."""

    async def speak() -> None:
        announcer = Announcer()
        async for frame in shown():
            for line in announcer.lines(frame):
                print(visible(line), flush=True)

    asyncio.run(speak())
    return 0


def draw(
    args: argparse.Namespace,
    config: Config,
    shown: Callable[[], AsyncIterator[Frame]],
    player: SupportsReplay | None = None,
    recorder: "Recorder | None" = None,
    what_if_session: "WhatIfSession | None" = None,
) -> NoReturn:
    """Show these frames until the person leaves, and leave the process with them.

    `player` plays a recording; `recorder` writes what the person wants to keep, `what_if_session` plans what-ifs.
    """
    app = app_of(args, config, shown, player, what_if_session)
    app.recorder = recorder
    if recorder is not None:
        recorder.tell = app.say
    _leave(shown_to_the_end(app), recorder, app)


def app_of(
    args: argparse.Namespace,
    config: Config,
    shown: Callable[[], AsyncIterator[Frame]],
    player: SupportsReplay | None = None,
    what_if_session: "WhatIfSession | None" = None,
) -> KvtopApp:
    """The app as configuration and flags want it. Raises ConfigError for keys that cannot be."""
    environ = environment()
    is_in_browser = bool(environ.get("TEXTUAL_DRIVER"))
    terminal = TerminalKind() if is_in_browser else terminal_kind(environ)
    no_color = (
        terminal.is_monochrome or args.color == "never" or (args.color == "auto" and bool(environ.get("NO_COLOR")))
    )
    tell_of_colours(wanted=not no_color)
    wrong = check_keymap(config.keys)
    if wrong:
        raise ConfigError(f"{config_file(environ, args.config)}: {wrong[0]}")
    app = KvtopApp(
        shown,
        theme_name=args.theme or config.theme or (PALETTE_THEME if terminal.has_few_colours else None),
        user_themes=config_directory(environ) / "themes",
        player=player,
        what_if_session=what_if_session,
        keymap=config.keys,
        interval_seconds=config.interval_seconds,
        ascii_only=args.ascii or _wants_ascii(config.ascii),
        no_color=no_color,
    )
    check_theme(args.theme, app.theme_names)
    app.copier = None if is_in_browser else CopiedText(environ)
    app.explain = _page_of
    return app


def _page_of(code: str) -> str:
    """The page of a rule; "" for a code that is none."""
    from kvtop.analysis.lint.linting import find_rule  # noqa: PLC0415  the rules, when one is to be explained

    try:
        return find_rule(code).page
    except KeyError:
        return ""


def shown_to_the_end(app: KvtopApp) -> int:
    """Run the app; gives its exit status. Whatever goes wrong ends the process.

    The thread that reads keys is no daemon, and of a terminal that is gone it reads for ever: an exception that left
    this function would wait for it at the end of the interpreter, with a core kept busy and nobody to see it.
    """
    forget_exported_size()
    try:
        with guarded_terminal():
            return app.run_dashboard()
    except KeyboardInterrupt:
        leave(exit_codes.INTERRUPTED)
    except BaseException as error:  # noqa: BLE001  told, and then the process ends: see above
        leave(told(error, "drawing the dashboard"))


def _leave(status: int, recorder: "Recorder | None", app: KvtopApp) -> NoReturn:
    if isinstance(app.copier, CopiedText) and app.copier.text:
        print(visible(app.copier.text, limit=COPIED_LIMIT), flush=True)
    said = recorder.close() if recorder is not None else ""
    if said:
        warn(said)
    leave(status)


def _nothing_to_watch(args: argparse.Namespace, config: Config) -> bool:
    """Look once; where no server is, say what was probed and give a person time to read it."""
    from kvtop.app.frames import one_frame  # noqa: PLC0415  see _Late

    frame = one_frame(args, config)
    if frame.servers:
        return False
    for view in frame.devices:
        warn(f"found {view.device.id}: {view.device.name}, {bytes_text(view.device.memory.total_bytes)}")
    for failure in frame.failures:
        warn(f"{failure.source}: {failure.message}")
    if PROCESSES in frame.pending:
        warn("the processes of this machine have not been looked at yet: a server may run and be missing")
    else:
        warn("looked for model servers among the processes of this machine: none runs; add endpoints with --url")
    warn(f"playing the demo in {READING_SECONDS:.0f} seconds")
    time.sleep(READING_SECONDS)
    return True


def _wants_ascii(setting: str) -> bool:
    if setting == "auto":
        return not is_utf8(environment())
    return setting == "always"


def is_utf8(environ: Mapping[str, str]) -> bool:
    """What the locale says, not Python, which takes "C" for UTF-8. Unset, as in containers, is UTF-8."""
    locale = next((environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "UTF-8")
    return "utf" in locale.lower()
