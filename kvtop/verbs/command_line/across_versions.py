"""`kvtop plan --across-versions A,B,… -- COMMAND`: one command by the rules of several versions."""

import argparse
import sys
from itertools import pairwise

from kvtop.analysis.diff.compare import compare
from kvtop.app.diff_sides import Side, SideRefusedError, planned_side
from kvtop.app.plan.request import UsageError
from kvtop.domain.model_file import ModelFileError
from kvtop.domain.plan import MalformedModelError, NoExactRuleError
from kvtop.sources.redaction.redact import clean
from kvtop.text import UnusableTextError
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.printing import print_text

_TOLERANCE_RATIO = 0.01


def across_versions(args: argparse.Namespace) -> int:
    """Compare and print. REFUSED where none of the versions would start the command."""
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    versions = [version.strip() for version in args.across_versions.split(",") if version.strip()]
    if len(versions) < 2:
        return _failed(f"--across-versions {args.across_versions}: name two versions at least", exit_codes.USAGE)
    sides: list[Side] = []
    for version in versions:
        try:
            sides.append(planned_side(version, words, tuple(args.gpu), version))
        except SideRefusedError as error:
            print(f"kvtop plan: {clean(str(error))}", file=sys.stderr)
        except NoExactRuleError as error:
            return _failed(f"{version}: no exact rule: {error}", exit_codes.NO_RULE)
        except MalformedModelError as error:
            return _failed(f"malformed model file: {error}", exit_codes.USAGE)
        except (UsageError, ModelFileError, UnusableTextError, OSError) as error:
            return _failed(str(error), exit_codes.USAGE)
    if not sides:
        return exit_codes.REFUSED
    found = [
        compare(one.state, other.state, _TOLERANCE_RATIO, (one.plans, other.plans)) for one, other in pairwise(sides)
    ]
    if args.json:
        from kvtop.views.export.diff_json import diff_json  # noqa: PLC0415

        sys.stdout.write(f"[{','.join(diff_json(it).strip() for it in found)}]\n")
        return exit_codes.OK
    from kvtop.views.text.diff_text import diff_text  # noqa: PLC0415

    print_text(args, "\n".join(map(diff_text, found)), "plan")
    return exit_codes.OK


def _failed(message: str, code: int) -> int:
    print(f"kvtop plan: {clean(message)}", file=sys.stderr)
    return code
