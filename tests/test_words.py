"""What a user reads is in the field's own words: none of the code base's older private dialect."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_WORDS = re.compile(
    r"\b(?:nobody|whoever|somebody|comes? on top|tells?|told|oftener|gravest|likely pool|without a word|in writing"
    r"|are believed|the house|how this follows|to be minded|and leave|left with|about to leave|a guess, not a plan"
    r"|explained by nobody|who says so|taken as all|leave it out|by itself|most worrying|who is on)\b",
    re.IGNORECASE,
)
"""Ways to say it that a native engineer stumbles over; write "reports", "exits", "excludes", "derivation" and so on."""
SOURCES = sorted((ROOT / "kvtop").rglob("*.py"))
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))]
_DEVELOPERS = {"decisions.md", "lint-review.md", "new-engine-version.md", "CHANGELOG.md"}
"""A history and working notes: they may quote."""


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """String constants with a space in them, without docstrings."""
    silent = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(body := getattr(node, "body", None), list)
        for statement in body
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in silent
            and " " in node.value
        ):
            yield node.lineno, node.value


def test_what_the_program_prints_is_in_the_words_of_the_field() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]}"
        for path in SOURCES
        for line, text in _texts(ast.parse(path.read_text(encoding="utf-8")))
        for match in _WORDS.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize("page", [it for it in PAGES if it.name not in _DEVELOPERS], ids=lambda page: page.name)
def test_a_page_is_in_the_words_of_the_field(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    found = [f"{number}: {match[0]}" for number, line in enumerate(lines, 1) for match in _WORDS.finditer(line)]
    assert found == []
