"""The command line. Each verb imports its own things inside its function, so that `--version` stays instant."""

import argparse
import sys
from collections.abc import Sequence

from kvtop import __version__

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_EPILOG = """\
exit codes: 0 done; 1 kvtop failed; 2 bad usage, configuration or model file; 3 the engine would refuse (plan);
4 no exact rule for this model (plan); 130 interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors a person can mend are one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(with_plan="plan" in arguments[:1] or "-h" in arguments or "--help" in arguments)
    args = parser.parse_args(arguments)
    from kvtop.config import ConfigError  # noqa: PLC0415  after --version and --help have left

    try:
        code: int = args.run(args)
    except ConfigError as error:
        print(f"kvtop: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`kvtop snapshot | head`): nothing is wrong, and nothing more can be said.
        sys.stderr.close()
        return EXIT_OK
    return code


def _parser(*, with_plan: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kvtop",
        description="What fills the accelerator memory of your language-model servers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kvtop {__version__}")
    _watching(parser)
    parser.add_argument("--theme", help="a theme of `kvtop themes`")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")
    parser.add_argument("--or-demo", action="store_true", help="play the demo where there is no server to watch")
    parser.set_defaults(run=_dashboard)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND")
    snapshot = verbs.add_parser("snapshot", help="print one frame and leave")
    _watching(snapshot)
    snapshot.add_argument("--json", action="store_true", help="as JSON, schema kvtop.snapshot/1 (default)")
    snapshot.set_defaults(run=_snapshot)
    plan = verbs.add_parser("plan", help="what a server's command line will allocate, before it is started")
    if with_plan:
        from kvtop import plan_verb  # noqa: PLC0415  only this verb needs it

        plan_verb.add_arguments(plan)
        plan.set_defaults(run=plan_verb.run)
    config = verbs.add_parser("config", help="show the configuration")
    config.add_argument("--default", action="store_true", help="print the default file, commented")
    config.add_argument("--config", metavar="FILE", help="read this file instead of the default one")
    config.set_defaults(run=_config)
    schema = verbs.add_parser("schema", help="print the JSON Schema of a snapshot")
    schema.set_defaults(run=_schema)
    themes = verbs.add_parser("themes", help="list the themes")
    themes.set_defaults(run=_themes)
    return parser


def _watching(parser: argparse.ArgumentParser) -> None:
    """What to watch: the same words for the dashboard and for a snapshot."""
    group = parser.add_argument_group("what to watch")
    group.add_argument("--url", action="append", default=[], metavar="URL", help="an endpoint besides; repeatable")
    group.add_argument("--demo", nargs="?", const="", metavar="NAME", help="an invented host instead of this one")
    group.add_argument("--interval", type=float, metavar="SECONDS", help="between two refreshes, 0.5 or more")
    group.add_argument("--config", metavar="FILE", help="read this configuration file")


def _dashboard(args: argparse.Namespace) -> int:
    from kvtop.dashboard_verb import run  # noqa: PLC0415  textual: only when there is something to draw

    return run(args)


def _snapshot(args: argparse.Namespace) -> int:
    from kvtop.snapshot_verb import run  # noqa: PLC0415

    return run(args)


def _config(args: argparse.Namespace) -> int:
    from dataclasses import asdict  # noqa: PLC0415

    from kvtop.config import DEFAULT_TEXT, config_directory, environment, load_config  # noqa: PLC0415

    if args.default:
        print(DEFAULT_TEXT, end="")
        return EXIT_OK
    config = load_config(environment(), args.config)
    print(f"# file: {args.config or config_directory(environment()) / 'config.toml'}")
    for key, value in asdict(config).items():
        print(f"{key} = {value!r}")
    return EXIT_OK


def _schema(_: argparse.Namespace) -> int:
    from kvtop.views.export.json_schema import snapshot_schema_text  # noqa: PLC0415

    print(snapshot_schema_text(), end="")
    return EXIT_OK


def _themes(_: argparse.Namespace) -> int:
    from kvtop.config import config_directory, environment  # noqa: PLC0415
    from kvtop.views.tui.theme_files import load_themes, themes_dir  # noqa: PLC0415

    loaded = load_themes(themes_dir(), config_directory(environment()) / "themes")
    for theme in loaded.themes:
        print(theme.name)
    for problem in loaded.problems:
        print(f"kvtop: {problem}", file=sys.stderr)
    return EXIT_USAGE if loaded.problems else EXIT_OK
