"""The command line: the dashboard's own options, and the verbs of `kvtop.verbs`. `--version` stays instant."""

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from itertools import takewhile

from kvtop import __version__
from kvtop.verbs import VERBS
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import COLOURS, WATCHING, HelpPage, document
from kvtop.verbs.command_line.parser import Parser, with_verb_first
from kvtop.verbs.command_line.watch_options import add_colour, add_drawing, add_watching

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

_WITHOUT_LOOP = frozenset(
    {"plan", "recommend", "quality", "wrap", "explain", "config", "schema", "themes", "gpus", "completion", "help"}
)
"""Verbs that run no event loop."""

_EMPTIED = re.compile(r"-[^=]+=--")

_PAGE = HelpPage(
    """\
What fills the accelerator memory of your language-model servers, live: weights, KV cache, recurrent state, compute
buffers and the rest, with the source of every figure. Without a command it draws the dashboard of this machine.""",
    {
        exit_codes.OK: "done: it fits, nothing was found",
        exit_codes.FINDING: "it does not fit, there are findings or differences, a named endpoint did not answer, or "
        "the work failed",
        exit_codes.USAGE: "bad usage, configuration or input file; the dashboard without a terminal",
        exit_codes.REFUSED: "the engine would refuse to start (plan), or there was nothing to check (lint, doctor)",
        exit_codes.NO_RULE: "no exact rule for this engine, model or option",
    },
    (
        ("the dashboard of this machine", "kvtop"),
        ("a tour without a server", "kvtop --demo"),
        ("a server on another machine", "kvtop --url http://10.0.0.5:8080"),
        ("start a server only if it fits", "kvtop plan -- llama-server -m model.gguf && llama-server -m model.gguf"),
        ("the help of a command", "kvtop help plan"),
    ),
    (*WATCHING, "KVTOP_THEME", *COLOURS),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A user error prints one line to stderr."""
    _make_streams_usable()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["help"] and arguments[1:2] != ["--help"]:
        # As the verb would say it itself; what is no verb is complained of as one.
        arguments = [*arguments[1:2], "--help"] if not "".join(arguments[1:2]).startswith("-") else arguments
    parser = _parser(frozenset(arguments))
    arguments = with_verb_first(parser, arguments, (verb.name for verb in VERBS))
    emptied = next((word for word in takewhile("--".__ne__, arguments) if _EMPTIED.fullmatch(word)), None)
    if emptied is not None:
        parser.error(f"{emptied}: -- is no value")  # argparse would hand on a list
    args = parser.parse_args(arguments)
    from kvtop.config import ConfigError  # noqa: PLC0415  after --version and --help have left
    from kvtop.verbs.command_line import crash  # noqa: PLC0415

    try:
        with crash.watched(with_tasks=args.verb not in _WITHOUT_LOOP):
            code: int = args.run(args)
            sys.stdout.flush()
    except ConfigError as error:
        print(f"kvtop: {error}", file=sys.stderr)
        return exit_codes.USAGE
    except KeyboardInterrupt:
        return crash.status(exit_codes.INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (`kvtop snapshot | head`): nothing is wrong, and nothing more can be said.
        sys.stderr.close()
        return exit_codes.OK
    except OSError as error:
        if error.errno not in _FULL:
            return crash.told(error)
        print(f"kvtop: standard output: cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered goes nowhere, without another word
        return exit_codes.FAILED
    except Exception as error:  # noqa: BLE001  whatever it is, it is told without a traceback: see `crash`
        return crash.told(error)
    return crash.status(code)


def _make_streams_usable() -> None:
    """A closed stream swallows what is said; one that is not Unicode gets escapes for what it cannot show."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  for the whole run
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _parser(words: frozenset[str]) -> Parser:
    """The whole command line. Of the verbs only those among `words` are imported and get their options."""
    parser = Parser(prog="kvtop")
    document(parser, _PAGE)
    _add_version(parser, "print the version")
    add_watching(parser)
    add_drawing(parser)
    parser.add_argument("--accessible", action="store_true", help="print changes as plain lines, for screen readers")
    parser.add_argument("--or-demo", action="store_true", help="play the demo where there is no server to watch")
    add_colour(parser)
    parser.set_defaults(run=_dashboard)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", dest="verb", parser_class=Parser)
    for listed in VERBS:
        own = verbs.add_parser(listed.name, help=listed.summary)
        if listed.name in words:
            module = listed.load()
            document(own, module.PAGE)
            module.add_arguments(own)
            add_colour(own)
            _add_version(own, argparse.SUPPRESS)
            own.set_defaults(run=module.run, parser=own)
    return parser


def _add_version(parser: Parser, words: str) -> None:
    parser.add_argument("-V", "--version", action="version", version=f"kvtop {__version__}", help=words)


def _dashboard(args: argparse.Namespace) -> int:
    from kvtop.verbs.dashboard import run  # noqa: PLC0415  textual: only when there is something to draw

    return run(args)
