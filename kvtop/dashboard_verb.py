"""`kvtop`: the dashboard in this terminal."""

import argparse
import locale
import os
import sys

from kvtop.config import config_directory, environment
from kvtop.views.tui.app import KvtopApp
from kvtop.watching import config_of, frames, samples_of, warn

EXIT_NO_TERMINAL = 2


def run(args: argparse.Namespace) -> int:
    """Draw until the person leaves. Never returns to a thread that hangs inside a driver."""
    config = config_of(args)
    # Textual draws on stderr; without a terminal there it would write escape codes into somebody's log.
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        warn("the dashboard needs a terminal; for a pipe or a file use `kvtop snapshot --json`")
        return EXIT_NO_TERMINAL
    environ = environment()
    app = KvtopApp(
        frames(samples_of(args, config)),
        theme_name=args.theme or config.theme or None,
        user_themes=config_directory(environ) / "themes",
        interval_seconds=config.interval_seconds,
        ascii_only=args.ascii or _wants_ascii(config.ascii),
        no_color=bool(environ.get("NO_COLOR")),
    )
    app.run()
    sys.stdout.flush()
    # Not sys.exit: a driver call that never returns would keep the interpreter alive.
    os._exit(app.return_code or 0)


def _wants_ascii(setting: str) -> bool:
    if setting == "auto":
        return "utf" not in (locale.getlocale()[1] or locale.getpreferredencoding(do_setlocale=False)).lower()
    return setting == "always"
