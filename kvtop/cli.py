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
from kvtop.verbs import VERBS, exit_codes
from kvtop.verbs.watched import add_watching

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

_WITHOUT_LOOP = frozenset({"plan", "recommend", "quality", "wrap", "explain", "config", "schema", "themes"})
"""Verbs that run no event loop."""

_EMPTIED = re.compile(r"-[^=]+=--")

_EPILOG = """\
exit codes: 0 done; 1 kvtop failed, findings (lint), or nothing fits (recommend); 2 bad usage, configuration or model
file; 3 the engine would refuse, or nothing to evaluate (lint); 4 no exact rule for this model; 70 a fault of kvtop
itself, with a report file; 130 interrupted.
`kvtop COMMAND --help` tells those of a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors a person can mend are one line on stderr."""
    _make_streams_usable()
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(frozenset(arguments))
    emptied = next((word for word in takewhile("--".__ne__, arguments) if _EMPTIED.fullmatch(word)), None)
    if emptied is not None:
        parser.error(f"{emptied}: -- is no value")  # argparse would hand on a list
    args = parser.parse_args(arguments)
    if args.verb is not None and arguments[0] != args.verb:
        # argparse would let the command's own defaults win over what was said before it.
        parser.error(f"the command comes first, then its options: kvtop {args.verb} …")
    from kvtop.config import ConfigError  # noqa: PLC0415  after --version and --help have left
    from kvtop.verbs import crash  # noqa: PLC0415

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


def _parser(words: frozenset[str]) -> argparse.ArgumentParser:
    """The whole command line. Of the verbs only those among `words` are imported and get their options."""
    parser = argparse.ArgumentParser(
        prog="kvtop",
        description="What fills the accelerator memory of your language-model servers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kvtop {__version__}")
    add_watching(parser)
    parser.add_argument("--theme", help="a theme of `kvtop themes`")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")
    parser.add_argument("--accessible", action="store_true", help="print changes as plain lines, for screen readers")
    parser.add_argument("--or-demo", action="store_true", help="play the demo where there is no server to watch")
    parser.set_defaults(run=_dashboard)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", dest="verb")
    for listed in VERBS:
        own = verbs.add_parser(listed.name, help=listed.summary)
        if listed.name in words:
            module = listed.load()
            module.add_arguments(own)
            own.set_defaults(run=module.run, parser=own)
    return parser


def _dashboard(args: argparse.Namespace) -> int:
    from kvtop.verbs.dashboard import run  # noqa: PLC0415  textual: only when there is something to draw

    return run(args)
