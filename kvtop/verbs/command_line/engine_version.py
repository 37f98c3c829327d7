"""`--engine-version`: for every verb that plans a command."""

import argparse


def add_engine_version(parser: argparse.ArgumentParser) -> None:
    """The option, on a verb's own parser."""
    parser.add_argument(
        "--engine-version",
        metavar="VERSION",
        help="the engine's version: b11434, 0.32.0 (default: the image tag, the installed program's, else the newest)",
    )
