"""`kvtop wrap -- mlx_lm.server …`: run an MLX server that reports its own memory."""

import argparse
import os
import sys

from kvtop.io.private_directory import private_directory
from kvtop.planning.commands.command import parse_command
from kvtop.planning.commands.python_command import interpreter_flags
from kvtop.planning.registry import all_engines, traits_of
from kvtop.sources.tools.wrapped_command import REPORT_VARIABLE, WrapError, remove_left_over, wrapped_command
from kvtop.text import UnusableTextError
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpPage

PAGE = HelpPage(
    """\
mlx_lm.server does not report how much memory it holds. This starts it with a small thread inside that writes MLX's
own counters (active, cache, peak) to a file once a second, which kvtop reads: the range of its KV cache becomes a
reported figure. The file is $XDG_RUNTIME_DIR/kvtop/mlx-PID.json (else in the temporary folder, mode 0700); it is
removed when the server exits, and what a killed one left by the next kvtop wrap. Nothing else changes: the process
is the server itself, so signals and its exit code are its own.""",
    {
        exit_codes.USAGE: "bad usage, or no MLX server; every other code is the server's own",
        exit_codes.CANNOT_EXECUTE: "it cannot be executed, as a shell says it",
        exit_codes.NOT_FOUND: "it was not found, as a shell says it",
    },
    (
        ("a model of the hub", "kvtop wrap -- mlx_lm.server --model mlx-community/Qwen3-4B-4bit"),
        ("a model in a folder", "kvtop wrap -- python -m mlx_lm.server --model ./model"),
    ),
    ("XDG_RUNTIME_DIR",),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb: none but the command."""
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the server's command line")


def run(args: argparse.Namespace) -> int:
    """Become the server. Returns only where that is impossible."""
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    try:
        command = parse_command(words)
    except UnusableTextError as error:
        return _say(str(error), exit_codes.USAGE)
    traits = traits_of(command.engine)
    if traits is None or not traits.reports_through_wrapper:
        wrapped = " and ".join(" ".join(it.traits.program) for it in all_engines() if it.traits.reports_through_wrapper)
        return _say(f"{command.engine} reports its memory without help; only {wrapped} is wrapped", exit_codes.USAGE)
    if command.program not in words:
        return _say("give the server's own command, without the shell or the unit around it", exit_codes.USAGE)
    environ = {**os.environ, **dict(command.variables)}
    try:
        own = words[words.index(command.program) :]
        replaced = wrapped_command(own, interpreter_flags(own[1:]), environ)
    except WrapError as error:
        return _say(str(error), exit_codes.NOT_FOUND if error.is_missing else exit_codes.USAGE)
    try:
        # The process stays the same one when it becomes the server, and so does its pid.
        folder = private_directory(environ)
        remove_left_over(folder)
        environ[REPORT_VARIABLE] = str(folder / f"mlx-{os.getpid()}.json")
    except OSError as error:
        _say(f"no memory reports, the server runs without them: {error}", 0)
        environ.pop(REPORT_VARIABLE, None)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(replaced[0], replaced, environ)
    except OSError as error:
        return _say(f"{replaced[0]}: {error.strerror}", exit_codes.CANNOT_EXECUTE)


def _say(message: str, code: int) -> int:
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415

    print(f"kvtop wrap: {clean(message)}", file=sys.stderr)
    return code
