"""`kvtop schema`: the JSON Schema of what kvtop prints."""

import argparse

from kvtop.views.export.snapshot.json_schema import snapshot_schema_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None yet."""


def run(_: argparse.Namespace) -> int:
    """Print it."""
    print(snapshot_schema_text(), end="")
    return 0
