"""`kvtop themes`: the themes there are, and what is wrong with those that cannot be loaded."""

import argparse
import sys
from collections.abc import Sequence

from kvtop.config import ConfigError, config_directory, environment
from kvtop.text import did_you_mean
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpPage
from kvtop.views.export.own_lists import themes_json
from kvtop.views.tui.themes.theme_files import LoadedThemes, load_themes, themes_dir

PAGE = HelpPage(
    """\
The themes that --theme and the configuration may name: those of kvtop, and yours in the themes folder beside the
configuration.""",
    {exit_codes.OK: "listed", exit_codes.USAGE: "a theme file cannot be used"},
    (("the names", "kvtop themes"), ("try one", "kvtop --demo --theme light")),
    ("XDG_CONFIG_HOME",),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.themes/1")


def run(args: argparse.Namespace) -> int:
    """List them. Exit code 2 when a theme file is broken."""
    loaded = _loaded()
    names = [theme.name for theme in loaded.themes]
    sys.stdout.write(themes_json(names, loaded.problems) if args.json else "".join(f"{name}\n" for name in names))
    for problem in loaded.problems:
        print(f"kvtop: {problem}", file=sys.stderr)
    return exit_codes.USAGE if loaded.problems else exit_codes.OK


def check_theme(name: str | None, names: Sequence[str] | None = None) -> None:
    """Raises ConfigError where `--theme` names none of `names` (None: of those that can be loaded)."""
    if not name:
        return
    known = theme_names() if names is None else names
    if name not in known:
        raise ConfigError(f"--theme: no theme {name!r}{did_you_mean(name, known)} (`kvtop themes` lists them)")


def theme_names() -> list[str]:
    """The themes that can be loaded."""
    return [theme.name for theme in _loaded().themes]


def _loaded() -> LoadedThemes:
    return load_themes(themes_dir(), config_directory(environment()) / "themes")
