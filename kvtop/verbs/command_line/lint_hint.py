"""The last line of a plan: that `kvtop lint` has something to say of the same command."""

import argparse
import shlex

from kvtop.app.flags import lint_choice, suppressions_of
from kvtop.app.plan.request import PlanRequest, UsageError
from kvtop.config import environment, load_config
from kvtop.text import UnusableTextError

_WIDTH = 80


def lint_hint(args: argparse.Namespace, request: PlanRequest) -> str:
    """ "2 warnings: kvtop lint --gpu 24GiB -- llama-server …", with a line end, or "" where lint finds nothing.

    What the configuration suppresses or ignores is left out, as it is there. Raises ConfigError.
    """
    from kvtop.analysis.lint.linting import lint  # noqa: PLC0415  the rules: a plan as JSON needs none
    from kvtop.app.plan.lint_target import read_target  # noqa: PLC0415

    config = load_config(environment(), args.config)
    try:
        target = read_target(request)
    except (UsageError, UnusableTextError, OSError):
        return ""  # the plan itself could be made, and that is what was asked for
    result = lint_choice(config, (), ()).of(lint(target, suppressions_of(config)), (target.engine,))
    severities = [it.severity for it in result.at_least("warning")]
    counts = [
        _count(severities.count(severity), severity) for severity in ("error", "warning") if severity in severities
    ]
    return f"{', '.join(counts)}: {_command(args, ', '.join(counts))}\n" if counts else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _command(args: argparse.Namespace, counts: str) -> str:
    """The command to type, its end left out where it would not fit into a line."""
    from kvtop.sources.redaction.redact import clean, masked_argv  # noqa: PLC0415

    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    gpus = [word for spec in args.gpu for word in ("--gpu", spec)]
    whole = shlex.join(["kvtop", "lint", *gpus, "--", *masked_argv(words)])
    short = shlex.join(["kvtop", "lint", *gpus, "--"]) + " …"
    room = _WIDTH - len(counts) - 2
    return clean(whole if len(whole) <= room else short)
