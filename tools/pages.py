"""Writes what is generated from the command line itself: completion scripts, the man page, docs/cli.md, docs/rules.md.

Run by `make pages`, and again after every change of an option or a help text; a test compares. shtab and
argparse-manpage are needed here alone: the files are shipped, so that kvtop never imports them.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage

from kvtop.analysis.lint.rules import RULES
from kvtop.cli import _PAGE, _parser
from kvtop.sources.demo import SCENARIOS
from kvtop.verbs import VERBS
from kvtop.verbs.command_line.cli_page import cli_page
from kvtop.verbs.command_line.help_page import CONFIG_PLACE, VARIABLES, HelpPage
from kvtop.verbs.command_line.rule_pages import rules_page
from kvtop.verbs.completion import FILES, FOLDER
from kvtop.views.tui.themes.theme_files import load_themes, themes_dir

ROOT = Path(__file__).resolve().parents[1]
MAN_PAGE = FOLDER / "kvtop.1"
WIDTH = 100


def main() -> int:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


def pages() -> list[tuple[Path, str]]:
    """Every generated file with its text."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)  # argparse wraps its usage to the terminal
    try:
        return list(_pages())
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def _pages() -> Iterator[tuple[Path, str]]:
    for shell, name in FILES.items():
        yield FOLDER / name, _tidy(shtab.complete(_for_completion(), shell))
    yield MAN_PAGE, _tidy(man_page())
    yield ROOT / "docs" / "cli.md", cli_page(_PAGE)
    yield ROOT / "docs" / "rules.md", rules_page()


def whole_parser() -> argparse.ArgumentParser:
    """The command line with the options of every verb."""
    return _parser(frozenset(verb.name for verb in VERBS))


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of its verbs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _for_completion() -> argparse.ArgumentParser:
    """The parser, told what may stand where a free word is taken."""
    parser = whole_parser()
    rules = [word for rule in RULES for word in (rule.slug, rule.code)]
    themes = [theme.name for theme in load_themes(themes_dir()).themes]
    names = {"--demo": [it.name for it in SCENARIOS], "--theme": themes, "--select": rules, "--ignore": rules}
    for own in parsers(parser):
        own.description = own.epilog = None
        for action in own._actions:
            words = next((names[flag] for flag in action.option_strings if flag in names), None)
            if words is not None:
                action.choices = words
            elif action.dest == "rule":
                action.choices = rules
            elif action.metavar in {"FILE", "A", "B"}:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return parser


def man_page() -> str:
    """kvtop.1: options of every command, then examples, exit codes, environment and files in sections of their own."""
    parser = whole_parser()
    for own in parsers(parser):
        own.epilog = None
    described = [(f"kvtop {verb.name}", verb.load().PAGE) for verb in VERBS]
    sections = (
        ("examples", "".join(_examples(name, page) for name, page in [("kvtop", _PAGE), *described])),
        ("exit status", "".join(_exits(name, page) for name, page in [("kvtop", _PAGE), *described])),
        ("environment", "".join(_row(name, words) for name, words in VARIABLES.items())),
        ("files", _row(CONFIG_PLACE, "the configuration; kvtop config --default prints one with every key")),
    )
    page = Manpage(parser)
    page.description = "what fills the accelerator memory of your language-model servers"
    page.date, page.source, page.manual = "", "kvtop", "User Commands"
    parser._manpage = [{"heading": heading, "content": content} for heading, content in sections]  # type: ignore[attr-defined]
    return str(page)


def _examples(name: str, page: HelpPage) -> str:
    rows = "".join(_row(what, command) for what, command in page.examples)
    return f".SS {_roff(name)}\n{rows}"


def _exits(name: str, page: HelpPage) -> str:
    return f".SS {_roff(name)}\n" + "".join(_row(str(code), words) for code, words in sorted(page.exits.items()))


def _row(key: str, words: str) -> str:
    return f".TP\n.B {_roff(key)}\n{_roff(words)}\n"


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _tidy(text: str) -> str:
    """Without blanks at the ends of lines, and with one final newline."""
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n") + "\n"


if __name__ == "__main__":
    sys.exit(main())
