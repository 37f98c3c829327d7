"""`kvtop schema`: the JSON Schemas of what kvtop prints."""

import argparse
import sys

from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpPage
from kvtop.views.export.schemas import NAMES, SCHEMAS, schema_text

PAGE = HelpPage(
    "The JSON Schema (draft 2020-12) of a document of kvtop. Within a version names are only added to; every document "
    "names its schema in the key schema.",
    {exit_codes.OK: "printed", exit_codes.USAGE: "there is no such schema"},
    (
        ("of kvtop snapshot --json", "kvtop schema"),
        ("of kvtop plan --json", "kvtop schema plan"),
        ("which there are", "kvtop schema --list"),
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    words = f"{', '.join(NAMES)} (default: {NAMES[0]})"
    parser.add_argument("name", nargs="?", choices=NAMES, default=NAMES[0], metavar="NAME", help=words)
    parser.add_argument("--list", action="store_true", help="list the schemas")


def run(args: argparse.Namespace) -> int:
    """Print it, or the list."""
    if args.list:
        sys.stdout.write("".join(f"{schema}\n" for schema in SCHEMAS))
    else:
        sys.stdout.write(schema_text(args.name))
    return exit_codes.OK
