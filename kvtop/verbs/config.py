"""`kvtop config`: the configuration in force, as TOML that can be used again, or the commented default file."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict

from kvtop.config import DEFAULT_TEXT, config_file, environment, load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--default", action="store_true", help="print the default file, commented")
    parser.add_argument("--config", metavar="FILE", help="read this file instead of the default one")


def run(args: argparse.Namespace) -> int:
    """Print it. Raises ConfigError."""
    if args.default:
        print(DEFAULT_TEXT, end="")
        return 0
    config = load_config(environment(), args.config)
    print(f"# file: {config_file(environment(), args.config)}")
    tables = asdict(config)
    inner = {"keys", "lint", "servers", "suppress"}
    print("\n".join(_lines({key: value for key, value in tables.items() if key not in inner})))
    for name in ("keys", "lint"):
        lines = _lines({key: value for key, value in tables[name].items() if value})
        if lines:
            print("\n".join(["", f"[{name}]", *lines]))
    for name in ("servers", "suppress"):
        for entry in tables[name]:
            print("\n".join(["", f"[[{name}]]", *_lines(entry)]))
    return 0


def _lines(table: Mapping[str, object]) -> list[str]:
    """Keys and values in TOML, whose booleans, numbers and strings are those of JSON. What is unset is left out."""
    return [f"{key} = {_value(value)}" for key, value in table.items() if value is not None]


def _value(value: object) -> str:
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415  a URL may carry a password

    return json.dumps(clean(value) if isinstance(value, str) else value, ensure_ascii=False)
