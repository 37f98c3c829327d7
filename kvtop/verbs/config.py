"""`kvtop config`: the configuration in force, as TOML that can be used again, or the commented default file."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict

from kvtop.config import DEFAULT_TEXT, config_file, environment, load_config
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpPage

PAGE = HelpPage(
    """\
The configuration in force, as TOML that can be used again: the file, then the environment over it. Flags of a command
are over both.""",
    {exit_codes.OK: "printed", exit_codes.USAGE: "the configuration cannot be used"},
    (
        ("what is in force, and from which file", "kvtop config"),
        ("begin a file of your own", "kvtop config --default > ~/.config/kvtop/config.toml"),
    ),
    ("KVTOP_CONFIG", "KVTOP_INTERVAL", "KVTOP_THEME", "XDG_CONFIG_HOME"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--default", action="store_true", help="print the default file, commented")
    parser.add_argument("--config", metavar="FILE", help="read this file instead of the default one")
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.config/1")


def run(args: argparse.Namespace) -> int:
    """Print it. Raises ConfigError."""
    if args.default:
        print(DEFAULT_TEXT, end="")
        return exit_codes.OK
    config = load_config(environment(), args.config)
    file = config_file(environment(), args.config)
    tables = asdict(config)
    if args.json:
        from kvtop.views.export.own_lists import config_json  # noqa: PLC0415

        print(config_json(str(file), {key: _cleaned(value) for key, value in tables.items()}), end="")
        return exit_codes.OK
    print(f"# file: {file}")
    inner = {"keys", "lint", "servers", "suppress"}
    print("\n".join(_lines({key: value for key, value in tables.items() if key not in inner})))
    for name in ("keys", "lint"):
        lines = _lines({key: value for key, value in tables[name].items() if value})
        if lines:
            print("\n".join(["", f"[{name}]", *lines]))
    for name in ("servers", "suppress"):
        for entry in tables[name]:
            print("\n".join(["", f"[[{name}]]", *_lines(entry)]))
    return exit_codes.OK


def _lines(table: Mapping[str, object]) -> list[str]:
    """Keys and values in TOML, whose booleans, numbers and strings are those of JSON. What is unset is left out."""
    return [f"{key} = {_value(value)}" for key, value in table.items() if value is not None]


def _value(value: object) -> str:
    return json.dumps(_cleaned(value), ensure_ascii=False)


def _cleaned(value: object) -> object:
    """Every text of it without secrets: a URL may carry a password."""
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415  only for what is printed

    if isinstance(value, Mapping):
        return {key: _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return clean(value) if isinstance(value, str) else value
