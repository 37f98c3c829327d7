"""`kvtop serve`: the dashboard in a browser, with a token. On this machine alone unless told otherwise."""

import argparse
import os
import secrets
import shlex
import sys

from kvtop.app.frames import config_of, fleet_options, poller_options, warn
from kvtop.config import ConfigError, environment
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import WATCHING, HelpPage
from kvtop.verbs.command_line.watch_options import add_watching
from kvtop.verbs.themes import check_theme

DEFAULT_PORT = 8642

PAGE = HelpPage(
    """\
The dashboard in a browser; each tab runs a kvtop of its own, which writes no files. On this machine alone unless --host
names another address. The printed address has a token, that of KVTOP_SERVE_TOKEN or a random one; other users of this
machine need it too. As root only with --allow-root.""",
    {
        exit_codes.OK: "done",
        exit_codes.FAILED: "the address cannot be used",
        exit_codes.USAGE: "bad usage or configuration, or textual-serve is missing",
    },
    (
        ("on this machine", "kvtop serve"),
        ("for the network", "kvtop serve --host 0.0.0.0 --port 8642"),
    ),
    ("KVTOP_SERVE_TOKEN", *WATCHING, "KVTOP_THEME"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"the port (default: {DEFAULT_PORT})")
    parser.add_argument("--theme", help="a theme of `kvtop themes`")
    parser.add_argument("--allow-root", action="store_true", help="serve as root: each tab runs with its rights")
    add_watching(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted. Raises ConfigError for options that the dashboard would refuse."""
    if not 0 < args.port < 65536:
        raise ConfigError(f"--port: must be 1 to 65535, got {args.port}")
    poller_options(args, config_of(args))
    if args.prometheus is not None:
        fleet_options(args, config_of(args))
    check_theme(args.theme)
    if os.geteuid() == 0 and not args.allow_root:
        warn("each tab would run as root: serve as an ordinary user, or with --allow-root")
        return exit_codes.USAGE
    try:
        from kvtop.app.authenticated_server import AuthenticatedServer, is_loopback  # noqa: PLC0415  slow, and an extra
    except ImportError as error:
        warn(f"kvtop serve needs textual-serve ({error}): pip install 'kvtop-tui[serve]'")
        return exit_codes.USAGE
    token = environment().get("KVTOP_SERVE_TOKEN", "") or secrets.token_urlsafe(24)
    if not is_loopback(args.host):
        warn("the connection is not encrypted: on a network that you do not trust, use an SSH tunnel instead")
    try:
        AuthenticatedServer(dashboard_command(args), args.host, args.port, token).serve()
    except OSError as error:
        warn(f"{args.host} port {args.port} cannot be used: {error.strerror or error}")
        return exit_codes.FAILED
    return 0


def dashboard_command(args: argparse.Namespace) -> str:
    """The shell command that a browser tab runs: this kvtop, watching the same. Keys stay in the environment."""
    # -P: without it Python would look for kvtop in the current folder first, which anybody may have written to.
    words = [sys.executable, "-P", "-m", "kvtop"]
    for url in args.url:
        words += ["--url", url]
    if args.no_discover:
        words.append("--no-discover")
    if args.demo is not None:
        words.append(f"--demo={args.demo}" if args.demo else "--demo")
    for flag, value in (
        ("--prometheus", args.prometheus),
        ("--interval", args.interval),
        ("--config", args.config),
        ("--theme", args.theme),
        ("--color", args.color if args.color != "auto" else None),
    ):
        if value is not None:
            words.append(f"{flag}={value}")
    return shlex.join(words)
