"""`kvtop completion SHELL`: the completion script of a shell, as the wheel ships it."""

import argparse
import sys
from pathlib import Path

from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpPage

FILES = {"bash": "kvtop.bash", "zsh": "_kvtop", "fish": "kvtop.fish"}
"""Shell -> file in kvtop/completions, which `make pages` generates from the parser."""
FOLDER = Path(__file__).resolve().parents[1] / "completions"

PAGE = HelpPage(
    "Completion of commands, options and choices. A package manager that installs the wheel into a prefix has put the "
    "scripts where the shells look; this prints them for everybody else.",
    {exit_codes.OK: "printed", exit_codes.USAGE: "kvtop has none for this shell"},
    (
        ("bash, for this user", "kvtop completion bash > ~/.local/share/bash-completion/completions/kvtop"),
        ("zsh, in a folder of $fpath", "kvtop completion zsh > ~/.zfunc/_kvtop"),
        ("fish", "kvtop completion fish > ~/.config/fish/completions/kvtop.fish"),
        ("for this shell alone", 'eval "$(kvtop completion bash)"'),
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The shell."""
    parser.add_argument("shell", choices=tuple(FILES), metavar="SHELL", help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """Print the file."""
    sys.stdout.write((FOLDER / FILES[args.shell]).read_text(encoding="utf-8"))
    return exit_codes.OK
