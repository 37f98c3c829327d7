"""Completions, man page, docs/cli.md and docs/rules.md are what the command line says now (`make pages`)."""

import subprocess
import sys
from pathlib import Path

import pytest

from kvtop.verbs import VERBS
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.completion import FILES, FOLDER
from tools.pages import MAN_PAGE, ROOT, pages, parsers, whole_parser

GENERATED = dict(pages())
OPTIONS = sorted({name for own in parsers(whole_parser()) for action in own._actions for name in action.option_strings})


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="argparse of another Python wraps its usage elsewhere")
@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_the_file_is_what_would_be_generated(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path], "what it is made of has changed: `make pages`"


@pytest.mark.parametrize("shell", FILES)
def test_completion_knows_every_command_and_option(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kvtop", "completion", shell], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == (FOLDER / FILES[shell]).read_text(encoding="utf-8")
    assert [verb.name for verb in VERBS if verb.name not in done.stdout] == []
    lacking = [name for name in OPTIONS if name.lstrip("-") not in done.stdout]
    assert lacking == []


def test_the_man_page_knows_every_option_and_exit_code() -> None:
    text = MAN_PAGE.read_text(encoding="utf-8").replace("\\-", "-")
    assert [name for name in OPTIONS if name not in text and name not in {"-h", "--help"}] == []
    assert all(f".SS kvtop {verb.name}" in text for verb in VERBS)
    for heading in ("NAME", "SYNOPSIS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES"):
        assert f".SH {heading}" in text


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """As readline asks: the words so far, then the reply of the function that the script registers."""
    asked = """
source "$1"
shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
$(complete -p kvtop | sed 's/.*-F \\([^ ]*\\).*/\\1/') kvtop "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    script = tmp_path / "ask.bash"
    script.write_text(asked, encoding="utf-8")

    def completed(*words: str) -> set[str]:
        command = ["bash", str(script), str(FOLDER / FILES["bash"]), *words]
        return set(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split())

    assert {"snapshot", "schema", "serve"} <= completed("kvtop", "s")
    assert {"--allow-tight", "--assume", "--at"} <= completed("kvtop", "plan", "--a")
    assert completed("kvtop", "lint", "--fail-on", "w") == {"warning"}


def test_the_exit_codes_of_the_page_are_those_of_the_file() -> None:
    known = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    for verb in VERBS:
        assert verb.load().PAGE.exits.keys() <= known
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [code for code in known if f"| `{code}` |" not in page] == []


def test_start_up_imports_no_generator() -> None:
    generators = ("shtab", "argparse_manpage")
    # From 3.14 on argparse itself imports dataclasses, for its colours.
    slow = () if sys.version_info >= (3, 14) else ("dataclasses",)
    for words, absent in (
        (["--version"], (*generators, *slow, "typing_extensions", "pydantic", "kvtop.config")),
        (["completion", "bash"], generators),
    ):
        command = [sys.executable, "-X", "importtime", "-m", "kvtop", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert "kvtop.cli" in done.stderr
        for library in absent:
            assert f" {library}\n" not in done.stderr, (words, library)
