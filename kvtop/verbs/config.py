"""`kvtop config`: the configuration as it is in force, or the commented default file."""

import argparse
from dataclasses import asdict

from kvtop.config import DEFAULT_TEXT, config_directory, environment, load_config


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
    print(f"# file: {args.config or config_directory(environment()) / 'config.toml'}")
    for key, value in asdict(config).items():
        print(f"{key} = {value!r}")
    return 0
