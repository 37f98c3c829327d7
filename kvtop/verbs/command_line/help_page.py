"""The help of a command in sections: what it does, exit codes, examples, environment variables, configuration file.

A line of prose that begins with two spaces stays as it is; one with a tab is a row of a table, its text wrapped beside
its key. Everything else is filled to the width of the terminal.
"""

import argparse
import itertools
from collections.abc import Sequence

from kvtop.verbs.command_line import exit_codes

CONFIG_PLACE = "$XDG_CONFIG_HOME/kvtop/config.toml, else ~/.config/kvtop/config.toml"
"""Where the configuration lies, unless KVTOP_CONFIG or --config names another file."""

CHOOSING_DEVICES = (
    *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES"),
    "ZE_AFFINITY_MASK",
)
"""`VISIBILITY_VARIABLES` of the domain, written out: `kvtop --version` imports no dataclass. A test compares."""
VARIABLES = {
    "KVTOP_CONFIG": "the configuration file, as --config",
    "KVTOP_INTERVAL": "seconds between two refreshes, as --interval",
    "KVTOP_THEME": "a theme, as --theme",
    "KVTOP_API_KEY": "the API key of endpoints that require one",
    "KVTOP_PROMETHEUS_TOKEN": "the bearer token of --prometheus",
    "KVTOP_PROMETHEUS_TENANT": "the organisation of a multi-tenant --prometheus",
    "KVTOP_SERVE_TOKEN": "the token that a browser must send",
    "NO_COLOR": "no colours, as --color never",
    "FORCE_COLOR": "colours in pipes too, as --color always (also CLICOLOR_FORCE; CLICOLOR=0 is never)",
    "XDG_CONFIG_HOME": "the folder of kvtop/config.toml and kvtop/themes",
    "XDG_DATA_HOME": "the folder of kvtop/quality.json, your own measurements",
    "XDG_RUNTIME_DIR": "the folder of the memory reports of `kvtop wrap`",
    "XDG_STATE_HOME": "the folder of kvtop's own fault reports",
    **dict.fromkeys(CHOOSING_DEVICES, "which cards the command would see, by its compute API"),
    "LLAMA_ARG_*": "options of llama-server, as it would read them itself",
}
"""Every environment variable that a person may set, and what it does."""

COLOURS = ("NO_COLOR", "FORCE_COLOR")
WATCHING = ("KVTOP_CONFIG", "KVTOP_INTERVAL", "KVTOP_API_KEY", "KVTOP_PROMETHEUS_TOKEN", "KVTOP_PROMETHEUS_TENANT")
PLANNING = (*CHOOSING_DEVICES, "LLAMA_ARG_*")
_EVERYWHERE = {
    exit_codes.INTERNAL_ERROR: "a fault of kvtop itself, with a report file",
    exit_codes.INTERRUPTED: "interrupted",
}
_WIDEST = 100


class HelpPage:
    """The prose of one command's help.

    `exits` are its exit codes with their meaning, `examples` (what for, command line), `variables` names of VARIABLES.
    """

    __slots__ = ("description", "examples", "exits", "variables")

    def __init__(
        self,
        description: str,
        exits: dict[int, str],
        examples: Sequence[tuple[str, str]],
        variables: Sequence[str] = (),
    ) -> None:
        self.description, self.examples, self.variables = description, tuple(examples), tuple(variables)
        self.exits = {**exits, **{code: words for code, words in _EVERYWHERE.items() if code not in exits}}

    def epilog(self) -> str:
        """Everything that stands below the options."""
        parts = ["examples:"]
        for what, command in self.examples:
            parts += [f"  # {what}", f"  $ {command}"]
        parts += ["", "exit codes:", *(f"  {code}\t{words}" for code, words in sorted(self.exits.items()))]
        if self.variables:
            parts += ["", "environment:", *(f"  {name}\t{VARIABLES[name]}" for name in self.variables)]
        parts += ["", "configuration:", f"  file\t{CONFIG_PLACE}", "  keys\tkvtop config --default"]
        return "\n".join(parts)


def document(parser: argparse.ArgumentParser, page: HelpPage) -> None:
    """Give the parser the prose of the page."""
    parser.description, parser.epilog = page.description, page.epilog()


class HelpFormatter(argparse.HelpFormatter):
    """Fills prose to the terminal's width and keeps the lines of examples and tables."""

    def __init__(
        self, prog: str, indent_increment: int = 2, max_help_position: int = 26, width: int | None = None
    ) -> None:
        if width is None:
            import shutil  # noqa: PLC0415  only for help

            width = min(shutil.get_terminal_size().columns - 2, _WIDEST)
        super().__init__(prog, indent_increment, max_help_position, width)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == argparse.REMAINDER:
            return str(action.metavar)  # argparse writes "..." for a command of somebody else
        return super()._format_args(action, default_metavar)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(f"{indent}{line}".rstrip() for line in filled(text, width - len(indent)))


def filled(text: str, width: int) -> list[str]:
    """The lines of a help text: paragraphs filled, the rows of a table aligned, examples as they are."""
    lines: list[str] = []
    for kind, group in itertools.groupby(text.splitlines(), _kind):
        block = list(group)
        if kind == "table":
            lines += _table([line.partition("\t")[::2] for line in block], width)
        elif kind == "prose":
            import textwrap  # noqa: PLC0415  only for help

            lines += textwrap.wrap(" ".join(block), width, break_on_hyphens=False)
        else:
            lines += block
    return lines


def _kind(line: str) -> str:
    if "\t" in line:
        return "table"
    is_heading = line.endswith(":") and line.islower()
    return "as it is" if not line or line.startswith("  ") or is_heading else "prose"


def _table(rows: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Keys in one column, their words wrapped in the other."""
    import textwrap  # noqa: PLC0415  only for help

    column = max(len(key) for key, _ in rows) + 2
    lines = []
    for key, words in rows:
        first, *following = textwrap.wrap(words, max(width - column, 20), break_on_hyphens=False)
        lines += [f"{key:{column}}{first}", *(" " * column + rest for rest in following)]
    return lines
