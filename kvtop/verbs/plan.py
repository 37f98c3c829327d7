"""`kvtop plan -- COMMAND`: what a server's command line will allocate where, before it is started."""

import argparse
import os
import sys
from dataclasses import replace

from kvtop.app.plan import PlanRequest, UsageError, answer
from kvtop.app.plan.started import as_started
from kvtop.domain.answers.plan_answer import PlanAnswer
from kvtop.domain.model_file import ModelFileError
from kvtop.domain.plan import MalformedModelError, NoExactRuleError, Refusal
from kvtop.planning.commands.command import parse_command, typed_words
from kvtop.text import UnusableTextError
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.engine_version import add_engine_version
from kvtop.verbs.command_line.help_page import COLOURS, PLANNING, HelpPage
from kvtop.verbs.command_line.host_option import add_host
from kvtop.verbs.command_line.lint_hint import lint_hint
from kvtop.verbs.command_line.misplaced_options import misplaced_options
from kvtop.verbs.command_line.one_shot import collect_rarely
from kvtop.verbs.command_line.plan_gate import frontier_gate, gate
from kvtop.verbs.command_line.printing import is_plain_ascii, print_text

PAGE = HelpPage(
    """\
The command is taken exactly as it would be typed, with this environment and this machine's llama.cpp configuration
files; only local files are read. The exit code is a gate: kvtop plan -- COMMAND && COMMAND starts nothing that does not
fit.

Without --gpu and without an accelerator on this machine, llama-server and mlx_lm.server are planned for the host and
its free memory; vLLM would refuse to start (3). With --gpu the host is another machine's and is not judged.""",
    {
        exit_codes.OK: "it fits",
        exit_codes.FINDING: "it does not fit, it fits only at the low end of the estimate (--allow-tight lets that "
        "pass), or the memory of a device is not known",
        exit_codes.USAGE: "bad usage or an unreadable model file",
        exit_codes.REFUSED: "the engine would refuse to start",
        exit_codes.NO_RULE: "no exact rule for this engine, model or option",
    },
    (
        ("will it fit", "kvtop plan --gpu 24GiB -- llama-server -m model.gguf -c 32768 -ctk q8_0 -fa on"),
        ("two cards", "kvtop plan --gpu H100 --gpu H100 -- vllm serve ./model --tensor-parallel-size 2"),
        ("what an upgrade changes", "kvtop plan --across-versions b6900,b8672,b11434 -- llama-server -m model.gguf"),
        ("start it only if it fits", "kvtop plan -- llama-server -m model.gguf && llama-server -m model.gguf"),
    ),
    (*PLANNING, *COLOURS),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.plan/1")
    parser.add_argument("--explain", action="store_true", help="say how every number follows, rule by rule")
    parser.add_argument(
        "--gpu",
        action="append",
        default=[],
        metavar="SPEC",
        help="a device to plan for: 24GiB, '80GiB,cc=9.0', '24GiB,free=20GiB', '64GiB,backend=metal', 'RTX 4090', "
        "2x24GiB, 8xH200 or none; repeatable (default: this machine's; `kvtop gpus` lists the names)",
    )
    add_host(parser)
    add_engine_version(parser)
    parser.add_argument(
        "--across-versions",
        metavar="A,B,…",
        help="what changes from one version to the next, and by which rule (--json: a list of kvtop.diff/1)",
    )
    parser.add_argument("--at", type=_tokens, metavar="TOKENS", help="tokens in the cache, for engines where it grows")
    parser.add_argument(
        "--assume",
        choices=["full-attention"],
        help="guess where there is no rule for a GGUF model, and say so",
    )
    parser.add_argument(
        "--frontier", action="store_true", help="which contexts fit with which cache types (--json: kvtop.frontier/1)"
    )
    parser.add_argument(
        "--allow-tight",
        action="store_true",
        help="exit with 0 too where it fits unless the estimate is at its high end",
    )
    parser.add_argument("--verify", action="store_true", help="hold the plan against llama-fit-params, if installed")
    parser.add_argument("--config", metavar="FILE", help="read this configuration file: which rules lint may name")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the server's command line")


def _tokens(text: str) -> int:
    from kvtop.text import parse_tokens  # noqa: PLC0415  only where --at is given

    try:
        return parse_tokens(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(args: argparse.Namespace) -> int:
    """Plan and print. Returns the exit code of the module's help."""
    collect_rarely()
    engine, model = None, None
    if args.across_versions:
        from kvtop.verbs.command_line.across_versions import across_versions  # noqa: PLC0415  only with the option

        return across_versions(args)
    try:
        request = _question(args)
        engine, model = request.command.engine, _model_word(request.command.words)
        if args.frontier:
            return _frontier(args, request)
        found = answer(request)
    except MalformedModelError as error:
        return _no_plan(args, engine, model, str(error), f"malformed model file: {error}", exit_codes.USAGE)
    except NoExactRuleError as error:
        return _no_plan(args, engine, model, str(error), f"no exact rule: {error}", exit_codes.NO_RULE)
    except (UsageError, UnusableTextError, ModelFileError, OSError) as error:
        return _no_plan(args, engine, model, str(error), str(error), exit_codes.USAGE)
    if isinstance(found, Refusal):
        hint = misplaced_options(args.parser, request.command.words, found.message)
        words = f"{found.engine} would refuse to start: {found.message}{hint}"
        return _no_plan(args, engine, model, found.message, words, exit_codes.REFUSED, found.hints)
    if args.json:
        sys.stdout.write(_shown(args, found))
    else:
        print_text(args, _shown(args, found) + lint_hint(args, request), "plan")
    code, sentence = gate(found, allow_tight=args.allow_tight)
    if sentence:
        print(f"kvtop plan: {sentence}", file=sys.stderr)
    return code


def _frontier(args: argparse.Namespace, request: PlanRequest) -> int:
    """The grid instead of one plan. Raises as `answer`."""
    from kvtop.app.plan.loaded import load_command  # noqa: PLC0415  only with --frontier
    from kvtop.app.plan.request import read_machine  # noqa: PLC0415
    from kvtop.planning.frontier import frontier  # noqa: PLC0415
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415
    from kvtop.views.text.frontier_text import frontier_json, frontier_text  # noqa: PLC0415
    from kvtop.views.text.room_words import reserve_notes  # noqa: PLC0415

    machine = read_machine(request)
    opened = load_command(request, machine)
    now = opened if isinstance(opened, Refusal) else opened.plan()
    if isinstance(opened, Refusal) or isinstance(now, Refusal):
        message = opened.message if isinstance(opened, Refusal) else now.message if isinstance(now, Refusal) else ""
        engine, model = request.command.engine, _model_word(request.command.words)
        hint = misplaced_options(args.parser, request.command.words, message)
        sentence = f"{engine} would refuse to start: {message}{hint}"
        hints = now.hints if isinstance(now, Refusal) else ()
        return _no_plan(args, engine, model, message, sentence, exit_codes.REFUSED, hints)
    found = frontier(opened.plan_context, opened.base, now, opened.trained_tokens or 131072)
    notes = (*reserve_notes(machine.rooms().values()), *map(clean, machine.notes))
    sys.stdout.write(frontier_json(found, clean(now.model), notes) if args.json else frontier_text(found, notes))
    return frontier_gate(found, allow_tight=args.allow_tight)


def _question(args: argparse.Namespace) -> PlanRequest:
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    return as_started(
        PlanRequest(
            command=parse_command(typed_words(words, os.environ)),
            gpu_specs=tuple(args.gpu),
            at_tokens=args.at,
            assume_full_attention=args.assume is not None,
            verify=args.verify,
            environ=dict(os.environ),
            engine_version=args.engine_version,
            host_bytes=args.host_bytes,
        )
    )


def _model_word(words: tuple[str, ...]) -> str | None:
    """The model as it was typed, for documents without a plan."""
    for word, following in zip(words, (*words, "")[1:], strict=True):
        name, equals, value = word.partition("=")
        if name in {"-m", "--model", "-hf", "-hfr", "--hf-repo"}:
            return value if equals else following
    return words[0] if words and not words[0].startswith("-") else None


def _no_plan(
    args: argparse.Namespace,
    engine: str | None,
    model: str | None,
    message: str,
    sentence: str,
    code: int,
    hints: tuple[str, ...] = (),
) -> int:
    """No plan and no number: a document for programs, a sentence for people."""
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415

    if args.json:
        from kvtop.views.export.plan_json import error_text  # noqa: PLC0415

        sys.stdout.write(error_text(engine, None if model is None else clean(model), clean(message), hints))
    if not args.json or code == exit_codes.USAGE:
        # Engines complain in several lines.
        print(f"kvtop plan: {clean(' '.join(sentence.split()))}", file=sys.stderr)
        for hint in hints:
            print(f"  {hint}", file=sys.stderr)
    return code


def _shown(args: argparse.Namespace, found: PlanAnswer) -> str:
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415

    # The file names its model and its architecture itself: what it says must not drive a terminal.
    safe = replace(found.plan, model=clean(found.plan.model), architecture=clean(found.plan.architecture))
    shown = replace(found, plan=safe, notes=tuple(map(clean, found.notes)), check_note=clean(found.check_note))
    if args.json:
        from kvtop.views.export.plan_json import plan_text  # noqa: PLC0415

        return plan_text(shown, explain=args.explain)
    from kvtop.views.text.plan_tree import plan_tree  # noqa: PLC0415

    return plan_tree(shown, explain=args.explain, ascii_only=is_plain_ascii())
