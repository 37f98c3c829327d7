"""`kvtop lint`: misconfigurations of this machine's servers, or of a command that is not started yet."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from kvtop.analysis.lint.linting import lint
from kvtop.analysis.lint.result import SEVERITIES, LintResult, Suppression
from kvtop.app.flags import lint_choice, suppressions_of
from kvtop.app.plan.request import PlanRequest, UsageError
from kvtop.app.plan.started import as_started
from kvtop.app.unanswered import unanswered, warn_of
from kvtop.config import environment, load_config
from kvtop.domain.frame import ServerView
from kvtop.domain.plan import MalformedModelError, NoExactRuleError
from kvtop.planning.commands.command import parse_command, typed_words
from kvtop.planning.commands.shell_line import unknown_variables
from kvtop.text import UnusableTextError, plain_number
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.engine_version import add_engine_version
from kvtop.verbs.command_line.help_page import COLOURS, PLANNING, WATCHING, HelpPage
from kvtop.verbs.command_line.host_option import add_host
from kvtop.verbs.command_line.misplaced_options import misplaced_options
from kvtop.verbs.command_line.one_shot import collect_rarely
from kvtop.verbs.command_line.printing import print_text
from kvtop.verbs.command_line.watch_options import add_watching
from kvtop.views.demo_mark import DEMO_SENTENCE

ANY_NUMBER = "1"
"""Stands for a variable without a value: an engine that refuses the one takes the other."""

PAGE = HelpPage(
    """\
Without a command: the servers of this machine, or of --url and --demo, looked at twice within three seconds, so that
what moves is seen. With one: as it would start here, or on the devices of --gpu. Without the model file only the
rules that need it are skipped; nothing is started, and only local files are read. A rule that lacks an input is
listed as not evaluated and never counts as passed.""",
    {
        exit_codes.OK: "no finding at or above --fail-on",
        exit_codes.FINDING: "there are some, or what was named with --url or --server is not there",
        exit_codes.USAGE: "bad usage or configuration",
        exit_codes.NOTHING_TO_CHECK: "nothing could be evaluated",
        exit_codes.NO_RULE: "no rules for this engine",
    },
    (
        ("what runs here", "kvtop lint"),
        ("a command", "kvtop lint --gpu 24GiB -- llama-server -m model.gguf -c 32768 -ctk q4_0 -ctv q8_0"),
        ("in a pipeline", "kvtop lint --sarif --fail-on error -- vllm serve ./model --kv-cache-dtype fp8"),
        ("without one rule", "kvtop lint --ignore metrics-disabled"),
        ("what a rule is about", "kvtop explain KVT009"),
    ),
    (*WATCHING, *PLANNING, *COLOURS),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_watching(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON, schema kvtop.lint/1")
    form.add_argument("--sarif", action="store_true", help="as SARIF 2.1.0, for code scanning of launch scripts")
    parser.add_argument(
        "--fail-on", choices=SEVERITIES, default="warning", help="the least severity that exits with 1 (warning)"
    )
    parser.add_argument(
        "--gpu",
        action="append",
        default=[],
        metavar="SPEC",
        help="a device for COMMAND, as in `kvtop plan`; repeatable",
    )
    add_host(parser)
    add_engine_version(parser)
    parser.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="CODE",
        help="only these rules, by code or name; repeatable",
    )
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="CODE", help="do not ask these rules; repeatable"
    )
    parser.add_argument(
        "--server", action="append", default=[], metavar="ID", help="only this running server (host:port); repeatable"
    )
    parser.add_argument(
        "--script", type=_script, metavar="FILE[:LINE]", help="where COMMAND stands, for the results of --sarif"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="a server's command line")


def _script(text: str) -> tuple[str, int]:
    file, colon, line = text.rpartition(":")
    if not colon:
        return text, 1
    if not file or not plain_number(line):
        raise argparse.ArgumentTypeError(f"{text!r}: give FILE or FILE:LINE, counted from 1")
    return file, int(line)


def run(args: argparse.Namespace) -> int:
    """Lint and print. Raises ConfigError."""
    collect_rarely()
    config = load_config(environment(), args.config)
    suppressions = suppressions_of(config)
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not words and args.gpu:
        print("kvtop lint: --gpu is for a command: kvtop lint --gpu SPEC -- COMMAND", file=sys.stderr)
        return exit_codes.USAGE
    if words and args.server:
        return _failed("--server is for running servers, not for a command", exit_codes.USAGE)
    choice = lint_choice(config, args.select, args.ignore)
    silent: tuple[str, ...] = ()
    if not words:
        views, silent = _of_this_machine(args)
        engines = tuple(view.reading.engine for view in views)
        result = choice.of(_said_of(views), engines)
    else:
        try:
            engine, found = _of_command(args, words, suppressions)
        except MalformedModelError as error:
            return _failed(f"malformed model file: {error}", exit_codes.USAGE)
        except NoExactRuleError as error:
            return _failed(f"no rules: {error}", exit_codes.NO_RULE)
        except (UsageError, UnusableTextError, OSError) as error:
            return _failed(str(error), exit_codes.USAGE)
        result = choice.of(found, (engine,))
        hint = misplaced_options(args.parser, words, " ".join(it.message for it in result.findings)).strip(" ()")
        silent = (hint,) if hint else ()
    if args.json or args.sarif:
        sys.stdout.write(_shown(args, result))
    else:
        print_text(args, _shown(args, result), "lint")
    sys.stdout.flush()
    warn_of(silent)
    if silent or result.at_least(args.fail_on):
        return exit_codes.FINDING
    return exit_codes.OK if result.asked else exit_codes.NOTHING_TO_CHECK


def _failed(message: str, code: int) -> int:
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415

    print(f"kvtop lint: {clean(message)}", file=sys.stderr)
    return code


def _of_command(
    args: argparse.Namespace, words: Sequence[str], suppressions: Sequence[Suppression]
) -> tuple[str, LintResult]:
    """The engine of the command, and what the rules say of it."""
    from kvtop.app.plan.lint_target import read_target  # noqa: PLC0415  model readers, only for a command

    typed = typed_words(words, os.environ)
    request = as_started(
        PlanRequest(
            command=parse_command(typed),
            gpu_specs=tuple(args.gpu),
            environ=dict(os.environ),
            engine_version=args.engine_version,
            host_bytes=args.host_bytes,
        )
    )
    target = read_target(request)
    for variable in unknown_variables(typed) if target.complaints else ():
        filled = parse_command([word.replace(variable, ANY_NUMBER) for word in typed])
        if set(target.complaints) - set(read_target(as_started(replace(request, command=filled))).complaints):
            raise UsageError(f"{variable} has no value here: put the value into the command, or export it before")
    return target.engine, lint(target, suppressions)


def _of_this_machine(args: argparse.Namespace) -> tuple[Sequence[ServerView], tuple[str, ...]]:
    """The servers that are meant, and a sentence for everything that was named and could not be read."""
    from kvtop.app.frames import config_of, one_frame, warn  # noqa: PLC0415  sources, only for live servers

    frame = one_frame(args, config_of(args), looks=2)
    if frame.is_demo:
        warn(DEMO_SENTENCE)
    silent = unanswered(args, [view.reading for view in frame.servers], frame.failures, frame.pending)
    if not frame.servers and not silent:
        warn("no server found to lint; add endpoints with --url, or give a command: kvtop lint -- COMMAND")
    there = [view.reading.id for view in frame.servers]
    absent = [name for name in args.server if name not in there]
    silent += tuple(f"no server {name!r} is here (there are: {', '.join(there) or 'none'})" for name in absent)
    return [view for view in frame.servers if not args.server or view.reading.id in args.server], silent


def _said_of(views: Sequence[ServerView]) -> LintResult:
    return LintResult(
        findings=tuple(it for view in views for it in view.findings),
        not_evaluated=tuple(it for view in views for it in view.not_evaluated),
        suppressed=tuple(it for view in views for it in view.suppressed),
        asked=sum(view.rules_asked for view in views),
    )


def _shown(args: argparse.Namespace, result: LintResult) -> str:
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415
    from kvtop.views.export.findings import findings_json, findings_text  # noqa: PLC0415

    if args.json:
        return findings_json(result.findings, result.not_evaluated, clean)
    if args.sarif:
        from kvtop.verbs.command_line.rule_pages import descriptors  # noqa: PLC0415
        from kvtop.views.export.sarif import sarif_text  # noqa: PLC0415

        return sarif_text(result.findings, result.not_evaluated, descriptors(), clean, args.script)
    return findings_text(result.findings, result.not_evaluated, result.suppressed, clean)
