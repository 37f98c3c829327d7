"""What a command line says before anything is watched: light, so that the first picture does not wait for the rest."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kvtop.analysis.lint.result import Suppression
from kvtop.config import Config, ConfigError, environment, load_config

if TYPE_CHECKING:
    from kvtop.analysis.lint.rule_choice import RuleChoice


def config_of(args: argparse.Namespace) -> Config:
    """File and environment, then this command's flags. Raises ConfigError naming the flag."""
    config = load_config(environment(), args.config)
    if args.interval is not None:
        if not 0.5 <= args.interval < math.inf:  # float() takes nan and inf
            raise ConfigError(f"--interval: must be 0.5 or more, got {args.interval:g}")
        config = replace(config, interval_seconds=args.interval)
    return replace(config, discover=False) if args.no_discover else config


def suppressions_of(config: Config) -> tuple[Suppression, ...]:
    """The `[[suppress]]` entries. Raises ConfigError for a rule that is none."""
    found = tuple(Suppression(it.rule, it.reason, it.server) for it in config.suppress)
    if not found:
        return ()
    from kvtop.analysis.lint.linting import unknown_rules  # noqa: PLC0415  the rules: only to look for their names

    for name in unknown_rules(found):
        raise ConfigError(f"suppress.rule: no rule {name!r} (`kvtop explain` lists them)")
    return found


def lint_choice(config: Config, select: Sequence[str], ignore: Sequence[str]) -> "RuleChoice":
    """What `kvtop lint` asks: the words of the command line, else the `[lint]` table. Raises ConfigError."""
    from kvtop.analysis.lint.rule_choice import RuleChoice, rule_codes  # noqa: PLC0415  the rules: only for their names

    codes = []
    for flag, typed, written in (("select", select, config.lint.select), ("ignore", ignore, config.lint.ignore)):
        try:
            codes.append(rule_codes(typed or written))
        except KeyError as error:
            raise ConfigError(f"{'--' if typed else 'lint.'}{flag}: {error.args[0]}") from error
    return RuleChoice(*codes)


def warn(message: str) -> None:
    """One line to the person at the terminal, never to stdout."""
    print(f"kvtop: {message}", file=sys.stderr)
