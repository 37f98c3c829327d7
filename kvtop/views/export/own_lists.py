"""What kvtop knows by itself, as JSON: themes, rules and its configuration."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

THEMES_SCHEMA, RULES_SCHEMA, CONFIG_SCHEMA = "kvtop.themes/1", "kvtop.rules/1", "kvtop.config/1"


class ThemesJson(TypedDict):
    """The names of the themes that can be loaded; `problems` are the messages of the files that cannot."""

    schema: str
    themes: list[str]
    problems: list[str]


class RuleJson(TypedDict):
    """One rule of `kvtop lint`: `page` is its whole explanation, `engines` is empty where it concerns all."""

    code: str
    slug: str
    title: str
    engines: list[str]
    page: str


class RulesJson(TypedDict):
    """The rules of `kvtop lint`, or the one that was asked for."""

    schema: str
    rules: list[RuleJson]


class ConfigJson(TypedDict):
    """The configuration in force, by the keys of the file; `file` is the one that is read, where it exists."""

    schema: str
    file: str
    values: dict[str, object]


def themes_json(names: Sequence[str], problems: Sequence[str]) -> str:
    """Indented JSON with a final newline."""
    return _text(ThemesJson(schema=THEMES_SCHEMA, themes=list(names), problems=list(problems)))


def rules_json(rules: Iterable[RuleJson]) -> str:
    """Indented JSON with a final newline."""
    return _text(RulesJson(schema=RULES_SCHEMA, rules=list(rules)))


def config_json(file: str, values: Mapping[str, object]) -> str:
    """Indented JSON with a final newline."""
    return _text(ConfigJson(schema=CONFIG_SCHEMA, file=file, values=dict(values)))


def _text(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
