"""The options that say what to watch: the same words for every verb that looks at a host."""

import argparse


def add_watching(parser: argparse.ArgumentParser) -> None:
    """Add `--url`, `--demo`, `--no-discover`, `--prometheus`, `--interval` and `--config`."""
    group = parser.add_argument_group("what to watch")
    group.add_argument("--url", action="append", default=[], metavar="URL", help="another endpoint; repeatable")
    group.add_argument(
        "--demo", nargs="?", const="", type=_scenario, metavar="NAME", help="an invented host instead of this one"
    )
    group.add_argument(
        "--no-discover", action="store_true", help="only the endpoints that are named, not this machine's processes"
    )
    group.add_argument("--prometheus", metavar="URL", help="all servers of a cluster, from its metrics server")
    group.add_argument("--interval", type=float, metavar="SECONDS", help="between two refreshes, 0.5 or more")
    group.add_argument("--config", metavar="FILE", help="read this configuration file")


def add_drawing(parser: argparse.ArgumentParser) -> None:
    """Add `--theme` and `--ascii`, for verbs that draw the dashboard."""
    parser.add_argument("--theme", metavar="NAME", help="a theme of `kvtop themes`")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")


def add_colour(parser: argparse.ArgumentParser) -> None:
    """Add `--color`: every command has it, whether or not it has anything to colour."""
    words = "when to use colours (default: auto, on a terminal)"
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", metavar="WHEN", help=words)


def _scenario(text: str) -> str:
    """A word after `--demo`: a path there is a FILE that stands behind it by mistake."""
    if "/" in text or "." in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no scenario; a file comes before --demo")
    return text


def add_anonymize(parser: argparse.ArgumentParser) -> None:
    """Add `--anonymize`, for verbs whose output leaves the machine."""
    words = "replace user, host, model and container names, the same way everywhere"
    parser.add_argument("--anonymize", action="store_true", help=words)
