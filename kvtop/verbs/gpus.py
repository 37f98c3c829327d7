"""`kvtop gpus`: the accelerators that `--gpu` knows by name."""

import argparse
import sys

from kvtop.planning.gpus.catalogue import known_gpus
from kvtop.text import did_you_mean
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpPage
from kvtop.views.text.gpu_table import gpus_json, gpus_text

PAGE = HelpPage(
    """\
The names that --gpu takes, each with the memory that its compute API reports to a process and the source of that; a
driver's own total is larger. Any other card is a size with what is known of it: --gpu '20GiB,cc=8.6', with
'free=18.4GiB' for what is free there, --gpu 2x24GiB or 8xH200 for several.""",
    {exit_codes.OK: "listed", exit_codes.FINDING: "no name has that word in it", exit_codes.USAGE: "bad usage"},
    (("all of them", "kvtop gpus"), ("those of one family", "kvtop gpus 5090"), ("for programs", "kvtop gpus --json")),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("word", nargs="?", default="", metavar="WORD", help="only names with this in them")
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.gpus/1")


def run(args: argparse.Namespace) -> int:
    """List them."""
    found = known_gpus(args.word)
    if not found:
        names = [name for it in known_gpus() for name in (it.name, *it.aliases)]
        print(f"kvtop gpus: no name has {args.word!r} in it{did_you_mean(args.word, names)}", file=sys.stderr)
        if not args.json:
            return exit_codes.FINDING
    sys.stdout.write(gpus_json(found) if args.json else gpus_text(found))
    return exit_codes.OK if found else exit_codes.FINDING
