"""What a command prints for a person: with colours where somebody sees them."""

import argparse
import os
import sys


def print_text(args: argparse.Namespace, text: str, kind: str) -> None:
    """Write to stdout. `kind` is the kind of text of `views.text.colour`."""
    from kvtop.views.text.colour import coloured, wants_colour  # noqa: PLC0415  not for documents

    is_coloured = wants_colour(args.color, os.environ, is_terminal=sys.stdout.isatty())
    sys.stdout.write(coloured(text, kind) if is_coloured else text)


def is_plain_ascii() -> bool:
    """Whether stdout cannot show the lines of trees."""
    return not (sys.stdout.encoding or "ascii").lower().replace("-", "").startswith("utf")
