"""docs/cli.md, from the pages of the commands: exit codes, environment variables, examples. `make pages` writes it."""

from kvtop.verbs import VERBS
from kvtop.verbs.command_line.help_page import CONFIG_PLACE, VARIABLES, HelpPage

_HEADER = """\
# The command line

This page is generated from the commands themselves (`make pages`), and a test keeps it true. The options of a command
are in `kvtop help COMMAND` and in the man page `kvtop(1)`.

The options of a command may stand before or after its name (`kvtop --demo snapshot`). Everything behind `--` is the
server's command and is read as the server would read it. A wrong word is exit code 2, with the usage of its command and
the word that was probably meant.
"""

_COMPLETION = """\
## Completion and man page

The wheel ships completion for bash, zsh and fish and the man page under `share/`, where a system-wide installation is
looked at. For an installation of your own:

    kvtop completion bash > ~/.local/share/bash-completion/completions/kvtop
    kvtop completion zsh > ~/.zfunc/_kvtop        # a folder of $fpath
    kvtop completion fish > ~/.config/fish/completions/kvtop.fish
"""


def cli_page(whole: HelpPage) -> str:
    """The page; `whole` is that of kvtop without a command."""
    parts = [_HEADER, "## Exit codes of every command\n", _exits(whole)]
    parts += ["## Environment variables\n", _table("variable", VARIABLES)]
    parts += ["## Configuration\n", f"`{CONFIG_PLACE}`; `kvtop config --default` prints one with every key.\n"]
    parts.append(_COMPLETION)
    for verb in VERBS:
        page: HelpPage = verb.load().PAGE
        examples = "\n".join(f"    {command}  # {what}" for what, command in page.examples)
        parts += [f"## kvtop {verb.name}\n", f"{page.description}\n", f"{examples}\n", _exits(page)]
    return "\n".join(parts)


def _exits(page: HelpPage) -> str:
    return _table("exit code", {str(code): words for code, words in sorted(page.exits.items())})


def _table(head: str, rows: dict[str, str]) -> str:
    lines = [f"| {head} | meaning |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{key}` | {words} |" for key, words in rows.items())]) + "\n"
