"""`kvtop recommend -- COMMAND`: configurations of a server that fit, the best first."""

import argparse
import os
import sys
from dataclasses import replace

from kvtop.app.plan import PlanRequest, UsageError
from kvtop.app.plan.started import as_started
from kvtop.domain.answers.recommendation import Requirements
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.model_file import Checkpoint, ModelFileError
from kvtop.domain.plan import MalformedModelError, NoExactRuleError, Refusal
from kvtop.planning.commands.command import parse_command, typed_words
from kvtop.text import UnusableTextError, plain_number
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.engine_version import add_engine_version
from kvtop.verbs.command_line.help_page import COLOURS, PLANNING, HelpPage
from kvtop.verbs.command_line.host_option import add_host
from kvtop.verbs.command_line.misplaced_options import misplaced_options
from kvtop.verbs.command_line.one_shot import collect_rarely
from kvtop.verbs.command_line.printing import print_text

PAGE = HelpPage(
    """\
Up to three configurations, each with its bytes per device, the published or measured evidence on its quality, an
estimate of decode speed, and the command. Where the model does not fit on the devices, experts or layers go to the
host, and several devices share it as they have room. Keys are never given fewer bits than values, 4-bit caches only
with a measurement of this model (`kvtop quality`), and different types for K and V only where backend and --build are
known to read them. The options of kvtop stand before the --, those of the server behind it.""",
    {
        exit_codes.OK: "at least one fits",
        exit_codes.FINDING: "none fits",
        exit_codes.USAGE: "bad usage or an unreadable model file",
        exit_codes.REFUSED: "the engine would refuse the command as it is",
        exit_codes.NO_RULE: "no exact rule for this engine, model or option",
    },
    (
        (
            "two users with 64k tokens each",
            "kvtop recommend --gpu 24GiB --context 64k --users 2 -- llama-server -m model.gguf",
        ),
        (
            "a mixture of experts larger than the card",
            "kvtop recommend --gpu 'RTX 4090' --host 64GiB --context 32k -- llama-server -m gpt-oss-120b.gguf",
        ),
        ("as little memory as possible", "kvtop recommend --gpu H100 --prefer memory -- vllm serve ./model"),
    ),
    (*PLANNING, "XDG_DATA_HOME", *COLOURS),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    _add_options(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the server's command line")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.recommend/1")
    parser.add_argument("--context", type=_tokens, metavar="TOKENS", help="of one sequence: 64k (default: as is)")
    parser.add_argument("--users", type=_users, metavar="N", help="sequences of that length at once (default: as is)")
    parser.add_argument(
        "--prefer", choices=["quality", "memory", "speed"], default="quality", help="what decides the order"
    )
    add_engine_version(parser)
    parser.add_argument("--build", metavar="VERSION", help="the older name of --engine-version")
    parser.add_argument(
        "--gpu", action="append", default=[], metavar="SPEC", help="a device, as in `kvtop plan`; repeatable"
    )
    add_host(parser)
    parser.add_argument(
        "--host-bandwidth",
        type=_bandwidth,
        metavar="SPEED",
        help="of the host's memory, for the estimate of decode speed: 80GB/s (default: two channels, 51 to 96 GB/s)",
    )


def _bandwidth(text: str) -> int:
    from kvtop.text import parse_bandwidth  # noqa: PLC0415  only where it is given

    try:
        return parse_bandwidth(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _tokens(text: str) -> int:
    from kvtop.text import parse_tokens  # noqa: PLC0415  only where it is given

    try:
        tokens = parse_tokens(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if tokens < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return tokens


def _users(text: str) -> int:
    if not plain_number(text, 65536):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Recommend and print. Returns the exit code of the help."""
    collect_rarely()
    args, words = _with_options_behind(args)
    try:
        words = typed_words(words, os.environ)
        command = parse_command(words)
        request = as_started(
            PlanRequest(
                command=command,
                gpu_specs=tuple(args.gpu),
                environ=dict(os.environ),
                engine_version=args.engine_version or args.build,
                host_bytes=args.host_bytes,
            )
        )
        # Where another program starts the server, the recommended command is the server's own.
        return _recommend(
            args, request, [request.command.program, *request.command.words] if request.display else words
        )
    except MalformedModelError as error:
        return _fail(f"malformed model file: {error}", exit_codes.USAGE)
    except NoExactRuleError as error:
        return _fail(f"no exact rule: {error}", exit_codes.NO_RULE)
    except (UsageError, UnusableTextError, ModelFileError, OSError) as error:
        return _fail(str(error), exit_codes.USAGE)


def _with_options_behind(args: argparse.Namespace) -> tuple[argparse.Namespace, list[str]]:
    """Without a leading `--`, everything up to one was kept as the command: options among it are kvtop's own."""
    words = list(args.command)
    if words[:1] == ["--"]:
        words = words[1:]
    elif "--" in words:
        at = words.index("--")
        parser = argparse.ArgumentParser(prog="kvtop recommend", add_help=False)
        _add_options(parser)
        args, words = parser.parse_args(words[:at], args), words[at + 1 :]
    return args, words


def _recommend(args: argparse.Namespace, request: PlanRequest, words: list[str]) -> int:
    from kvtop.analysis.recommending import RecommendRequest, recommend  # noqa: PLC0415  rules only when they are needed
    from kvtop.app.plan.loaded import load_command  # noqa: PLC0415
    from kvtop.app.plan.own_evidence import read_own_evidence  # noqa: PLC0415
    from kvtop.app.plan.request import read_machine  # noqa: PLC0415
    from kvtop.planning.registry import engine_rules  # noqa: PLC0415
    from kvtop.sources.redaction.redact import clean, masked_argv  # noqa: PLC0415
    from kvtop.views.text.recommendation_text import (  # noqa: PLC0415
        recommendations_json,
        recommendations_text,
    )
    from kvtop.views.text.room_words import reserve_notes  # noqa: PLC0415

    machine = read_machine(request)
    opened = load_command(request, machine)
    now = opened if isinstance(opened, Refusal) else opened.plan()
    if isinstance(opened, Refusal) or isinstance(now, Refusal):
        message = opened.message if isinstance(opened, Refusal) else now.message if isinstance(now, Refusal) else ""
        hint = misplaced_options(args.parser, request.command.words, message)
        sentence = f"{request.command.engine} would refuse to start: {message}{hint}"
        return _fail(sentence, exit_codes.REFUSED, now.hints if isinstance(now, Refusal) else ())
    own, problems = read_own_evidence(os.environ)
    at_tokens = args.context or opened.at_tokens
    rules = engine_rules(request.command.engine)
    context, capped = args.context, ""
    if rules is not None and context is not None:
        context, capped = rules.sequence_limit(context, opened.trained_tokens)
    grows = rules is not None and rules.traits.cache_grows
    found = recommend(
        RecommendRequest(
            plan_context=opened.plan_context,
            base=WhatIf(opened.typed or opened.launch, at_tokens=at_tokens if grows else None),
            now=now,
            requirements=Requirements(context, args.users, args.prefer),
            words=tuple(masked_argv(words)),
            model=now.model
            if not isinstance(opened.plan_context.model, Checkpoint)
            else opened.plan_context.model.path,
            architecture=now.architecture,
            trained_tokens=opened.trained_tokens,
            version=opened.launch.engine_version,
            are_devices_known=bool(machine.devices or args.gpu),
            own=own,
            host_bytes_per_second=args.host_bandwidth,
            is_fitted=opened.typed is not None,
        )
    )
    reserved = reserve_notes(machine.rooms().values())
    notes = (*([capped] if capped else []), *found.notes, *reserved, *machine.notes, *problems)
    found = replace(found, model=clean(found.model), notes=tuple(map(clean, notes)))
    if args.json:
        sys.stdout.write(recommendations_json(found))
    else:
        print_text(args, recommendations_text(found), "recommend")
    return exit_codes.OK if found.items else exit_codes.FINDING


def _fail(message: str, code: int, hints: tuple[str, ...] = ()) -> int:
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415

    # Engines complain in several lines.
    print(f"kvtop recommend: {clean(' '.join(message.split()))}", file=sys.stderr)
    for hint in hints:
        print(f"  {hint}", file=sys.stderr)
    return code
