"""`kvtop snapshot`: one Frame to stdout, without importing Textual."""

import argparse
import os
import sys

from kvtop.verbs.watched import add_watching
from kvtop.views.export.snapshot_json import snapshot_text
from kvtop.watching import config_of, one_frame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_watching(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.snapshot/1 (default)")


def run(args: argparse.Namespace) -> int:
    """Print one frame. Exit code 0: an empty host is an answer too."""
    text = snapshot_text(one_frame(args, config_of(args)))
    sys.stdout.write(text)
    sys.stdout.flush()
    # A driver call that never came back would hold the interpreter's exit; everything has been written.
    os._exit(0)
