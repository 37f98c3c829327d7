"""`kvtop help VERB`: the same as `kvtop VERB --help`, which the command line makes of it; alone, as `kvtop --help`."""

import argparse

from kvtop.verbs import VERBS
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpPage

PAGE = HelpPage(
    "The help of a command, or of kvtop where none is named.",
    {exit_codes.OK: "printed", exit_codes.USAGE: "there is no such command"},
    (("all commands", "kvtop help"), ("one of them", "kvtop help plan")),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command."""
    choices = [verb.name for verb in VERBS]
    parser.add_argument("command", nargs="?", choices=choices, metavar="COMMAND", help="a command of kvtop")


def run(args: argparse.Namespace) -> int:
    """Never reached with a command, nor without one: `cli.main` reads both as `--help`."""
    args.parser.print_help()
    return exit_codes.OK
