"""The places that a new build of llama.cpp may touch: its rules and its answers, and nothing that computes.

docs/new-engine-version.md names the same places.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import kvtop
from kvtop.planning.llamacpp.rules.build_rules import BuildRules
from kvtop.planning.llamacpp.rules.changes import version_changes
from kvtop.planning.llamacpp.rules.ranges import VERSIONS

ROOM = Path(kvtop.__file__).parent / "planning" / "llamacpp"
PLACES = (
    "rules/ranges.py",
    "rules/build_rules.py",
    "rules/changes.py",
    "rules/options_by_build.py",
    "rules/traits.py",
    "rules/architectures/",
    "model/unread_keys.py",
    "options/table.py",
    "options/rules.py",
)
"""What a new build is data in. A rule that is new as well is code, behind a switch of BuildRules."""
_KNOWN_ELSEWHERE = {"kernel_pairs.py", "memory/attention_scratch.py", "options/parse.py"}
"""Builds that decide about words and ranges: conversion of cache types (#28079), what backends reserve for it, and
`-fa` with a value (#15434)."""


def _is_of_a_build(number: int) -> bool:
    return 5000 <= number <= 20000 and number % 256 != 0


def _compared(tree: ast.Module) -> Iterator[str]:
    """Numbers that look like a build's and are assigned or compared, outside of docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, int) and _is_of_a_build(node.value):
            yield str(node.value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"b\d{4,5}", node.value):
            yield node.value


def test_no_rule_asks_for_a_build_outside_these_places() -> None:
    found = {}
    for path in sorted(ROOM.rglob("*.py")):
        name = path.relative_to(ROOM).as_posix()
        if name.startswith(PLACES) or name in _KNOWN_ELSEWHERE:
            continue
        numbers = sorted(set(_compared(ast.parse(path.read_text(encoding="utf-8")))))
        if numbers:
            found[name] = numbers
    assert found == {}


def test_the_page_names_these_places() -> None:
    page = (ROOM.parents[2] / "docs" / "new-engine-version.md").read_text(encoding="utf-8")
    for place in PLACES:
        assert f"`{place}`" in page, place


def test_every_switch_that_differs_between_builds_is_told_of() -> None:
    """`kvtop diff --engine-version A B` names a rule only if `changes.py` has words for it."""
    told = {change.name for change in version_changes(VERSIONS[0].first, VERSIONS[-1].last)}
    untold = {"checked", "build", "quantized_values_words", "unfused_values_words", "knows_graphs"}
    for one in range(len(VERSIONS) - 1):
        told |= {it.name for it in version_changes(VERSIONS[one].last, VERSIONS[one + 1].first)}
    assert {name for name in BuildRules.__dataclass_fields__ if name not in untold} == told
