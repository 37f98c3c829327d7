"""`kvtop themes`: the themes there are, and what is wrong with those that cannot be loaded."""

import argparse
import sys

from kvtop.config import config_directory, environment
from kvtop.verbs import exit_codes
from kvtop.views.tui.themes.theme_files import load_themes, themes_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(_: argparse.Namespace) -> int:
    """List them. Exit code 2 when a theme file is broken."""
    loaded = load_themes(themes_dir(), config_directory(environment()) / "themes")
    for theme in loaded.themes:
        print(theme.name)
    for problem in loaded.problems:
        print(f"kvtop: {problem}", file=sys.stderr)
    return exit_codes.USAGE if loaded.problems else 0
