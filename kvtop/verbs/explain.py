"""`kvtop explain RULE`: what a rule is about, why, what it costs and what to do."""

import argparse
import sys

from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpPage

PAGE = HelpPage(
    """\
What a rule of `kvtop lint` is about: why it matters, what it costs, what to do, and a command that it fires on. Without
a rule it lists all of them.""",
    {exit_codes.OK: "printed", exit_codes.USAGE: "there is no such rule"},
    (
        ("every rule", "kvtop explain"),
        ("one rule, by code or name", "kvtop explain low-bit-keys"),
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.rules/1")
    parser.add_argument("rule", nargs="?", metavar="CODE|SLUG", help="KVT001, or its name; without it all are listed")


def run(args: argparse.Namespace) -> int:
    """Print the page of a rule, or the list."""
    from kvtop.analysis.lint.linting import find_rule  # noqa: PLC0415  the rules, only for this verb
    from kvtop.analysis.lint.rules import RULES  # noqa: PLC0415
    from kvtop.verbs.command_line.rule_pages import page  # noqa: PLC0415

    try:
        rules = RULES if args.rule is None else (find_rule(args.rule),)
    except KeyError as error:
        print(f"kvtop explain: {error.args[0]}", file=sys.stderr)
        return exit_codes.USAGE
    if args.json:
        from kvtop.views.export.own_lists import RuleJson, rules_json  # noqa: PLC0415

        listed = [
            RuleJson(
                code=rule.code, slug=rule.slug, title=rule.title, engines=list(rule.module.ENGINES), page=rule.page
            )
            for rule in rules
        ]
        sys.stdout.write(rules_json(listed))
    elif args.rule is None:
        for rule in rules:
            print(f"{rule.code}  {rule.slug:<36}  {rule.title}")
    else:
        print(page(rules[0]))
    return exit_codes.OK
