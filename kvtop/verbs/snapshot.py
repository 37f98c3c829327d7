"""`kvtop snapshot`: one Frame as a document, to stdout or to a file, without importing Textual."""

import argparse
import sys
from pathlib import Path

from kvtop.app.frames import config_of, one_frame, warn
from kvtop.app.unanswered import unanswered, warn_of
from kvtop.config import ConfigError
from kvtop.io.atomic_write import write_atomic
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.crash import leave
from kvtop.verbs.command_line.help_page import COLOURS, WATCHING, HelpPage
from kvtop.verbs.command_line.printing import is_plain_ascii, print_text
from kvtop.verbs.command_line.watch_options import add_anonymize, add_watching
from kvtop.views.export.snapshot.formats import FORMATS, format_of, render
from kvtop.views.text.ledger import ledger_text

PAGE = HelpPage(
    """\
What kvtop sees now, once: devices, servers and what fills their memory. On a terminal it is the ledger as text; in a
pipe or a file it is JSON, unless --format or the suffix of the -o file says otherwise.""",
    {
        exit_codes.OK: "printed; an empty host is an answer too",
        exit_codes.FINDING: "a named endpoint did not answer, processes could not be looked at in time, or the file "
        "could not be written",
        exit_codes.USAGE: "bad usage or configuration",
    },
    (
        ("the ledger of this machine, as text", "kvtop snapshot"),
        ("for a program", "kvtop snapshot --json | jq '.servers[].kv_cache'"),
        ("for a bug report", "kvtop snapshot --anonymize -o snapshot.md"),
    ),
    (*WATCHING, *COLOURS),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_watching(parser)
    add_anonymize(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.snapshot/1")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="default: by the suffix of the -o file; text on a terminal, else json",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to this file, whole or not at all")


def run(args: argparse.Namespace) -> int:
    """Print one frame. Exit code 0: an empty host is an answer too; 1: not written, or a named endpoint is silent."""
    wanted = _format(args)
    frame = one_frame(args, config_of(args))
    silent = unanswered(args, [view.reading for view in frame.servers], frame.failures, frame.pending)
    code = exit_codes.FINDING if silent else exit_codes.OK
    if args.output in {None, "-"}:
        if wanted == "text":
            print_text(args, ledger_text(frame, ascii_only=is_plain_ascii()), "ledger")
        else:
            sys.stdout.write(render(frame, wanted))
        sys.stdout.flush()
    else:
        try:
            write_atomic(Path(args.output), render(frame, wanted).encode())
        except OSError as error:
            warn(f"{args.output}: cannot be written: {error.strerror or error}")
            code = exit_codes.FAILED
    warn_of(silent)
    # A driver call that never came back would hold the interpreter's exit; everything has been written.
    leave(code)


def _format(args: argparse.Namespace) -> str:
    if args.json and args.format not in {None, "json"}:
        raise ConfigError(f"--json and --format {args.format}: give one of them")
    if args.json or args.format is not None:
        return args.format or "json"
    if args.output in {None, "-"}:
        return "text" if args.output is None and sys.stdout.isatty() else "json"
    try:
        return format_of(args.output)
    except ValueError as error:
        raise ConfigError(f"-o {error}") from error
