"""`kvtop themes`: the themes there are, and what is wrong with those that cannot be loaded."""

import argparse
import sys

from kvtop.config import config_directory, environment
from kvtop.views.tui.theme_files import load_themes, themes_dir

EXIT_BROKEN_THEME = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(_: argparse.Namespace) -> int:
    """List them. Exit code 2 when a theme file is broken."""
    loaded = load_themes(themes_dir(), config_directory(environment()) / "themes")
    for theme in loaded.themes:
        print(theme.name)
    for problem in loaded.problems:
        print(f"kvtop: {problem}", file=sys.stderr)
    return EXIT_BROKEN_THEME if loaded.problems else 0
