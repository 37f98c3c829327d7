"""`kvtop diff A B`: what differs between two states of a host, or two commands, and why."""

import argparse
import sys

from kvtop.analysis.diff.compare import compare
from kvtop.app.diff_sides import Side, SideRefusedError, planned_side, side_of
from kvtop.app.plan.request import UsageError
from kvtop.app.unanswered import warn_of
from kvtop.config import ConfigError
from kvtop.domain.model_file import ModelFileError
from kvtop.domain.plan import MalformedModelError, NoExactRuleError
from kvtop.planning.versions import version_numbers
from kvtop.sources.recordings.snapshot_file import SnapshotFileError
from kvtop.sources.redaction.redact import clean
from kvtop.text import UnusableTextError
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.crash import leave
from kvtop.verbs.command_line.help_page import COLOURS, PLANNING, WATCHING, HelpPage
from kvtop.verbs.command_line.printing import print_text
from kvtop.verbs.command_line.watch_options import add_watching

PAGE = HelpPage(
    """\
A and B are snapshots (kvtop snapshot --json), recordings (their last moment, or FILE@TIME), or the word live. With
--plan they are command lines, each in quotes. The free memory of the host changes on its own: it is listed, and counts
only with --all.""",
    {
        exit_codes.OK: "no difference beyond the tolerance",
        exit_codes.FINDING: "they differ, or an endpoint that was named did not answer",
        exit_codes.USAGE: "bad usage, or a file that cannot be read",
        exit_codes.REFUSED: "the engine would refuse a command (--plan)",
        exit_codes.NO_RULE: "no exact rule for an engine, model or option (--plan)",
    },
    (
        ("what has changed since", "kvtop diff before.json live"),
        (
            "what an option changes",
            "kvtop diff --plan --gpu 24GiB 'llama-server -m m.gguf' 'llama-server -m m.gguf -ctk q8_0 -ctv q8_0'",
        ),
        ("what an upgrade changes", "kvtop diff --engine-version b6900 b11434 -- llama-server -m m.gguf"),
    ),
    (*WATCHING, *PLANNING, *COLOURS),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("a", metavar="A", help="before")
    parser.add_argument("b", metavar="B", help="after")
    parser.add_argument(
        "command", nargs="*", metavar="COMMAND", help="with --engine-version A B --: one command, for both versions"
    )
    parser.add_argument("--plan", action="store_true", help="A and B are command lines that have not been started")
    parser.add_argument("--gpu", action="append", default=[], metavar="SPEC", help="for --plan, as in kvtop plan")
    parser.add_argument(
        "--engine-version",
        action="append",
        default=[],
        metavar="VERSION",
        help="the engine's version for --plan, a second one is B's; A B -- COMMAND: of one command, as two versions",
    )
    words = "numbers this close do not count: 1%% or 0.01 (default: 1%%)"
    parser.add_argument("--tolerance", default="1%", metavar="RATIO", help=words)
    parser.add_argument(
        "--all", action="store_true", help="also count the free memory of the host, which changes on its own"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.diff/1")
    add_watching(parser)


def run(args: argparse.Namespace) -> int:
    """Compare and print. Leaves without waiting for a thread that hangs inside a driver."""
    tolerance = _tolerance(args.tolerance)
    if args.gpu and not args.plan and not _is_of_versions(args):
        raise ConfigError("--gpu: is for --plan; measured sides have their own devices")
    try:
        before, after = _sides(args)
    except MalformedModelError as error:
        return _failed(f"malformed model file: {error}", exit_codes.USAGE)
    except NoExactRuleError as error:
        return _failed(f"no exact rule: {error}", exit_codes.NO_RULE)
    except SideRefusedError as error:
        return _failed(str(error), exit_codes.REFUSED)
    except (UsageError, SnapshotFileError, ModelFileError, UnusableTextError, OSError) as error:
        return _failed(str(error), exit_codes.USAGE)
    plans = (before.plans, after.plans)
    comparison = compare(before.state, after.state, tolerance, plans, everything=args.all)
    if args.json:
        from kvtop.views.export.diff_json import diff_json  # noqa: PLC0415

        sys.stdout.write(diff_json(comparison))
    else:
        from kvtop.views.text.diff_text import diff_text  # noqa: PLC0415

        print_text(args, diff_text(comparison), "diff")
    sys.stdout.flush()
    silent = before.silent + after.silent
    warn_of(silent)
    return leave(exit_codes.FINDING if comparison.differs or silent else exit_codes.OK)


def _sides(args: argparse.Namespace) -> tuple[Side, Side]:
    gpus = tuple(args.gpu)
    if _is_of_versions(args):
        words = [args.b, *args.command]
        return planned_side(args.engine_version[0], words, gpus, args.engine_version[0]), planned_side(
            args.a, words, gpus, args.a
        )
    if args.command:
        raise UsageError(f"kvtop diff takes two sides; {args.command[0]!r} is a third")
    if args.plan:
        versions = args.engine_version or [None]
        return planned_side("A", [args.a], gpus, versions[0]), planned_side("B", [args.b], gpus, versions[-1])
    from kvtop.sources.recordings.framing import RecordingError  # noqa: PLC0415

    try:
        return side_of(args.a, args), side_of(args.b, args)
    except RecordingError as error:
        raise UsageError(str(error)) from error


def _is_of_versions(args: argparse.Namespace) -> bool:
    """`--engine-version A B -- COMMAND`: B stands where side A would, and the command behind it."""
    return len(args.engine_version) == 1 and not args.plan and version_numbers(args.a) is not None


def _tolerance(text: str) -> float:
    try:
        ratio = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio < 1:
        raise ConfigError(f"--tolerance: must be a ratio like 1% or 0.01, got {text!r}")
    return ratio


def _failed(message: str, code: int) -> int:
    print(f"kvtop diff: {clean(message)}", file=sys.stderr)
    return code
