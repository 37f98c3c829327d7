"""Themes are TOML files. Each is checked when it is loaded, so that a wrong one is a message and never a crash."""

import tomllib
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.theme import Theme

from kvtop.views.segment_table import LOOKS

COLOUR_KEYS = (
    *("primary", "secondary", "warning", "error", "success", "accent", "foreground", "background", "surface", "panel"),
    "boost",
)
FLAG_KEYS = ("dark", "ansi")
NUMBER_KEYS = ("luminosity_spread", "text_alpha")
VARIABLES = (*(look.role for look in LOOKS), "faint", "cursor", "frame")
"""What [variables] may name: colours of the bars, of secondary text, of the cursor row and of box frames."""

_ACCEPTED = ("name", *COLOUR_KEYS, *FLAG_KEYS, *NUMBER_KEYS, "variables")


class ThemeFileError(Exception):
    """str() names the file, the key and what is accepted."""


@dataclass(frozen=True, slots=True)
class LoadedThemes:
    """`problems` are the messages of the files that were left out."""

    themes: tuple[Theme, ...]
    problems: tuple[str, ...]


def themes_dir() -> Path:
    """Where kvtop's own themes are: beside the package in a wheel, at the top of a checkout."""
    package = Path(__file__).resolve().parents[3]
    packaged = package / "themes"
    return packaged if packaged.is_dir() else package.parent / "themes"


def load_themes(*directories: Path) -> LoadedThemes:
    """Every *.toml of the directories, in order of name; a later directory's theme replaces one of the same name."""
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for directory in directories:
        for path in sorted(directory.glob("*.toml")):
            try:
                theme = read_theme(path)
            except ThemeFileError as problem:
                problems.append(str(problem))
            else:
                themes[theme.name] = theme
    return LoadedThemes(tuple(themes.values()), tuple(problems))


def read_theme(path: Path) -> Theme:
    """One theme. Raises ThemeFileError for a file that cannot be read, an unknown key or a value that is no colour."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as problem:
        raise ThemeFileError(f"{path}: {problem}") from problem
    for key in table:
        if key not in _ACCEPTED:
            raise ThemeFileError(f"{path}: unknown key {key!r}; accepted: {', '.join(_ACCEPTED)}")
    name = table.get("name", path.stem)
    if not isinstance(name, str) or not name:
        raise ThemeFileError(f"{path}: name: {name!r} is not a word")
    if "primary" not in table:
        raise ThemeFileError(f"{path}: primary: missing; a theme needs at least this colour")
    for key in COLOUR_KEYS:
        if key in table:
            _check_colour(path, key, table[key])
    _check_settings(path, table)
    variables = table.get("variables", {})
    if not isinstance(variables, dict):
        raise ThemeFileError(f"{path}: variables: {variables!r} is not a table")
    for key, value in variables.items():
        if key not in VARIABLES:
            raise ThemeFileError(f"{path}: variables: unknown key {key!r}; accepted: {', '.join(VARIABLES)}")
        _check_colour(path, f"variables.{key}", value)
    known = {field.name for field in dataclass_fields(Theme)}
    return Theme(**{**{key: value for key, value in table.items() if key in known}, "name": name})


def _check_settings(path: Path, table: dict[str, object]) -> None:
    for key in FLAG_KEYS:
        if not isinstance(table.get(key, False), bool):
            raise ThemeFileError(f"{path}: {key}: {table[key]!r} is not true or false")
    for key in NUMBER_KEYS:
        if isinstance(table.get(key, 0.5), bool) or not isinstance(table.get(key, 0.5), int | float):
            raise ThemeFileError(f"{path}: {key}: {table[key]!r} is not a number")


def _check_colour(path: Path, key: str, value: object) -> None:
    try:
        if not isinstance(value, str):
            raise ColorParseError("not a string")
        Color.parse(value)
    except ColorParseError as problem:
        message = f'{path}: {key}: {value!r} is not a colour; write "#rrggbb" or a colour\'s name'
        raise ThemeFileError(message) from problem


def part_colours(theme: Theme) -> dict[str, str]:
    """Colours of the parts for a theme that names none."""
    primary, faint = theme.primary, "#7d8590" if theme.dark else "#6a7380"
    return {
        # Textual's own stylesheet asks for these two when the theme is an ANSI one.
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "weights": primary,
        "kv-used": theme.success or "#3fb68b",
        "kv-reserved": theme.success or "#3fb68b",
        "recurrent": theme.secondary or primary,
        "compute": theme.warning or "#d9a441",
        "runtime": theme.accent or primary,
        "unattributed": theme.error or "#d0657a",
        "other": faint,
        "free": faint,
        "faint": faint,
        "frame": faint,
        "cursor": theme.panel or theme.surface or ("#262c38" if theme.dark else "#dde3ea"),
    }
