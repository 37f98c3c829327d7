"""`kvtop plan -- llama-server -m X --json`: an option of kvtop among the words of the server's command."""

import argparse
from collections.abc import Sequence


def misplaced_options(parser: argparse.ArgumentParser, words: Sequence[str], message: str) -> str:
    """The hint to add to an engine's complaint that names one of kvtop's own options, with a space before it, or ""."""
    own = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    for word in words:
        name = word.partition("=")[0]
        if name in own and name in message:
            return f" ({name} is an option of kvtop: put it before the --)"
    return ""
