"""`kvtop explain RULE`: what a rule is about, why, what it costs and what to do."""

import argparse
import sys

from kvtop.verbs import exit_codes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("rule", nargs="?", metavar="CODE|SLUG", help="KVT001, or its name; without it all are listed")


def run(args: argparse.Namespace) -> int:
    """Print the page of a rule, or the list."""
    from kvtop.analysis.lint.linting import find_rule  # noqa: PLC0415  the rules, only for this verb
    from kvtop.analysis.lint.rules import RULES  # noqa: PLC0415
    from kvtop.verbs.rule_pages import page  # noqa: PLC0415

    if args.rule is None:
        for rule in RULES:
            print(f"{rule.code}  {rule.slug:<36}  {rule.title}")
        return exit_codes.OK
    try:
        print(page(find_rule(args.rule)))
    except KeyError as error:
        print(f"kvtop explain: {error.args[0]}", file=sys.stderr)
        return exit_codes.USAGE
    return exit_codes.OK
