"""`kvtop replay FILE`: the dashboard over a recording, or one moment of it as a document."""

import argparse
import sys
from pathlib import Path

from kvtop.analysis.anonymize import Pseudonyms
from kvtop.app.frames import warn
from kvtop.app.replay import frame_at, moment, replayed
from kvtop.config import ConfigError, environment, load_config
from kvtop.io.atomic_write import write_atomic
from kvtop.sources.recordings.framing import RecordingError
from kvtop.sources.recordings.player import Player
from kvtop.sources.recordings.reader import Recording
from kvtop.text import UnusableTextError
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import COLOURS, HelpPage
from kvtop.verbs.command_line.watch_options import add_anonymize, add_drawing
from kvtop.views.export.snapshot.formats import FORMATS, format_of, render

PAGE = HelpPage(
    """\
The dashboard over a recording, or one moment of it as a document. TIME is 90 or +1m30s from the start, --at=-30s from
the end, a clock time like 14:05:30, or an ISO time. The archive of `kvtop report` is a recording too.""",
    {
        exit_codes.OK: "done",
        exit_codes.FAILED: "the output could not be written",
        exit_codes.USAGE: "bad usage, not a recording, or no terminal to draw on",
    },
    (
        ("ten times as fast", "kvtop replay --speed 10 load-test.kvtop"),
        ("the last moment as JSON", "kvtop replay --json load-test.kvtop"),
        ("a moment as a page", "kvtop replay --at 14:05:30 -o moment.html load-test.kvtop"),
    ),
    ("KVTOP_CONFIG", "KVTOP_THEME", *COLOURS),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("file", metavar="FILE", help="a recording, or the archive of a report")
    parser.add_argument("--at", metavar="TIME", help="begin there, or print that moment (default: the start; the end)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="N", help="recorded seconds a second (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one moment as JSON, schema kvtop.snapshot/1")
    parser.add_argument("--format", choices=FORMATS, help="print one moment in this format")
    parser.add_argument("-o", "--output", metavar="FILE", help="write that to a file, whole or not at all")
    parser.add_argument("--config", metavar="FILE", help="read this configuration file")
    add_drawing(parser)
    add_anonymize(parser)


def run(args: argparse.Namespace) -> int:
    """Print one moment, or draw until the person leaves."""
    if not args.speed > 0:
        raise ConfigError(f"--speed: must be above 0, got {args.speed:g}")
    if args.json or args.format or args.output:
        _format(args)  # bad words come before the reading of a long file
    try:
        recording = Recording(Path(args.file))
        index = None if args.at is None else moment(recording, args.at)
        if recording.note:
            warn(f"{args.file}: {recording.note}")
        if args.json or args.format or args.output:
            return _print(args, recording, len(recording) - 1 if index is None else index)
    except RecordingError as error:
        warn(str(error))
        return exit_codes.USAGE
    except UnusableTextError as error:
        raise ConfigError(f"--at: {error}") from error
    return _draw(args, recording, index or 0)


def _print(args: argparse.Namespace, recording: Recording, index: int) -> int:
    text = render(frame_at(recording, index, Pseudonyms() if args.anonymize else None), _format(args))
    if args.output in {None, "-"}:
        sys.stdout.write(text)
        return exit_codes.OK
    try:
        write_atomic(Path(args.output), text.encode())
    except OSError as error:
        warn(f"{args.output}: cannot be written: {error.strerror or error}")
        return exit_codes.FAILED
    return exit_codes.OK


def _format(args: argparse.Namespace) -> str:
    if args.json and args.format not in {None, "json"}:
        raise ConfigError(f"--json and --format {args.format}: give one of them")
    if args.json or args.format is not None or args.output in {None, "-"}:
        return args.format or "json"
    try:
        return format_of(args.output)
    except ValueError as error:
        raise ConfigError(f"-o {error}") from error


def _draw(args: argparse.Namespace, recording: Recording, index: int) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        warn("the dashboard needs a terminal; for a pipe or a file use `kvtop replay FILE --json`")
        return exit_codes.USAGE
    from kvtop.verbs.dashboard import draw  # noqa: PLC0415  textual: only when there is something to draw

    player = Player(recording, index=index, speed=args.speed)
    names = Pseudonyms() if args.anonymize else None
    from kvtop.app.replay_player import ReplayPlayer  # noqa: PLC0415  textual too
    from kvtop.app.what_if_session import WhatIfSession  # noqa: PLC0415  only with a screen

    controls = ReplayPlayer(player, args.file)
    what_if_session = WhatIfSession(environment())
    shown = controls.noting(replayed(player, names, what_if_session.note))
    return draw(args, load_config(environment(), args.config), shown, controls, what_if_session=what_if_session)
