"""`kvtop snapshot`: one Frame to stdout, without importing Textual."""

import argparse
import os
import sys

from kvtop.views.export.snapshot_json import snapshot_text
from kvtop.watching import config_of, one_frame


def run(args: argparse.Namespace) -> int:
    """Print one frame. Exit code 0: an empty host is an answer too."""
    text = snapshot_text(one_frame(args, config_of(args)))
    sys.stdout.write(text)
    sys.stdout.flush()
    # A driver call that never came back would hold the interpreter's exit; everything has been written.
    os._exit(0)
