"""`kvtop doctor`: what was probed, what answered, what could not be read, and what to do about it."""

import argparse
import sys

from kvtop.app.unanswered import unanswered, warn_of
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.crash import leave
from kvtop.verbs.command_line.help_page import COLOURS, WATCHING, HelpPage
from kvtop.verbs.command_line.printing import print_text
from kvtop.verbs.command_line.watch_options import add_anonymize, add_watching

PAGE = HelpPage(
    """\
Every driver, server process, endpoint and model file that kvtop looks at, with its answer, and below a failed one the
single thing to do about it. Nothing is changed.""",
    {
        exit_codes.OK: "all well",
        exit_codes.FINDING: "something that was wanted could not be read",
        exit_codes.USAGE: "bad usage or configuration",
        exit_codes.NOTHING_TO_CHECK: "nothing failed; there is no server to watch",
    },
    (
        ("this machine", "kvtop doctor"),
        ("one endpoint alone", "kvtop doctor --no-discover --url http://10.0.0.5:8080"),
    ),
    (*WATCHING, *COLOURS),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_watching(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.doctor/1")
    add_anonymize(parser)


def run(args: argparse.Namespace) -> int:
    """Print the checkup. Returns never: the exit code of the module's help is that of the process."""
    from kvtop.app.checkups import checkup_of  # noqa: PLC0415
    from kvtop.app.frames import config_of, first_samples  # noqa: PLC0415
    from kvtop.views.text.checkup_text import checkup_json, checkup_text  # noqa: PLC0415

    config = config_of(args)
    sample = first_samples(args, config)[-1]
    found = checkup_of(args, config, sample)
    silent = unanswered(args, sample.servers, sample.failures, sample.pending)
    code = exit_codes.OK if found.server_count else exit_codes.NOTHING_TO_CHECK
    if found.failed() or silent:
        code = exit_codes.FINDING
    if args.json:
        sys.stdout.write(checkup_json(found, code))
    else:
        print_text(args, checkup_text(found), "doctor")
    sys.stdout.flush()
    warn_of(silent)
    # A driver call that never came back would hold the interpreter's exit; everything has been written.
    leave(code)
