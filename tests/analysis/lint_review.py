"""The tables of docs/lint-review.md: how often each rule fires on published commands; and of every command
line of the corpus, what kvtop says and what a person expected.

    python -m tests.analysis.lint_review

rewrites it; `test_lint_corpus.py` fails when the page is not current.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from kvtop.analysis.lint.linting import lint
from kvtop.analysis.lint.result import LintResult
from kvtop.analysis.lint.rule import Example
from tests.analysis.lint_rates import rates_table
from tests.models.rule_models import target_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "lint-review.md"
BEGIN, END = "<!-- lint_review.py -->\n", "<!-- end of lint_review.py -->\n"
BEGIN_RATES, END_RATES = "<!-- lint_rates.py -->\n", "<!-- end of lint_rates.py -->\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One command line of the corpus. `expected` and `unasked` are slugs, `doubt` is what may be seen otherwise."""

    id: str
    origin: str
    example: Example
    expected: frozenset[str]
    unasked: frozenset[str]
    doubt: str


def cases() -> tuple[Case, ...]:
    """The corpus."""
    with (ROOT / "tests" / "fixtures" / "lint_corpus" / "commands.toml").open("rb") as file:
        rows = tomllib.load(file)["case"]
    return tuple(
        Case(
            row["id"],
            row["from"],
            Example(row["command"], tuple(row.get("gpu", ())), row.get("model", ""), row.get("draft", "")),
            frozenset(row["expect"]),
            frozenset(row.get("unasked", ())),
            row.get("doubt", ""),
        )
        for row in rows
    )


def linted(case: Case) -> LintResult:
    """What kvtop says of it."""
    return lint(target_of(case.example))


def table() -> str:
    """Counts, then a row for each command line."""
    corpus = cases()
    rows = ["| command line | from | findings | unexpected | missed |", "| --- | --- | --- | --- | --- |"]
    alarms = misses = findings = 0
    for case in corpus:
        result = linted(case)
        found = {it.slug: it.severity for it in result.findings}
        extra, missed = sorted(found.keys() - case.expected), sorted(case.expected - found.keys())
        alarms, misses, findings = alarms + len(extra), misses + len(missed), findings + len(found)
        shown = ", ".join(f"{slug} ({severity})" for slug, severity in found.items())
        row = (case.id, case.origin, shown or "none", ", ".join(extra) or "-", ", ".join(missed) or "-")
        rows.append(f"| {' | '.join(row)} |")
    doubts = [f"- {case.id}: {case.doubt}." for case in corpus if case.doubt]
    head = f"{len(corpus)} command lines, {findings} findings: {alarms} not expected by hand, {misses} missed."
    return "\n".join([head, "", *rows, "", "Open to another view:", "", *doubts, ""])


def renewed(page: str) -> str:
    """The page with both tables as they are now. Raises ValueError without their markers."""
    return _filled(_filled(page, BEGIN_RATES, rates_table(), END_RATES), BEGIN, table(), END)


def _filled(page: str, begin: str, text: str, end: str) -> str:
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{PAGE.name} lacks its markers")
    return f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
