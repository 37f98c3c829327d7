"""`kvtop serve` whose tabs wait for their first byte instead of drawing a dashboard: for tests of the server alone."""

import argparse
import sys

from kvtop import cli
from kvtop.verbs import serve


def waiting_command(args: argparse.Namespace) -> str:  # noqa: ARG001  as the verb's own
    """The prelude that textual-serve waits for, then silence up to the first byte; closing a tab sends one."""
    return "echo __GANGLION__; head -c 1 > /dev/null"


if __name__ == "__main__":
    serve.dashboard_command = waiting_command
    sys.exit(cli.main())
