"""How often each rule fires on published command lines, and what was thought of it: a section of docs/lint-review.md.

`python -m tests.analysis.lint_review` rewrites the page.
"""

import tomllib
from collections import Counter
from functools import lru_cache
from pathlib import Path

from kvtop.analysis.lint.linting import lint
from kvtop.analysis.lint.result import LintResult
from kvtop.analysis.lint.rules import RULES
from tests.models.published import Published, models, published
from tests.models.rule_models import target_of

JUDGEMENTS = Path(__file__).parents[1] / "fixtures" / "lint_corpus" / "judgements.toml"
_SHORT = (("error", "E"), ("warning", "W"), ("info", "i"))
_NAMES = {"vllm": "vLLM", "llama.cpp": "llama.cpp"}


@lru_cache(maxsize=1)
def results() -> tuple[tuple[Published, LintResult, LintResult], ...]:
    """Each command line, what is said of it bare, and what with its model and cards."""
    return tuple((it, lint(target_of(it.bare, models())), lint(target_of(it.whole, models()))) for it in published())


def judgements() -> dict[str, str]:
    """What was thought, by rule."""
    with JUDGEMENTS.open("rb") as file:
        return tomllib.load(file)


def fails(result: LintResult) -> bool:
    """Whether `kvtop lint` exits with 1."""
    return bool(result.at_least("warning"))


def rates_table() -> str:
    """Counts of commands that fail, then a row for each rule."""
    thought = judgements()
    heads = [f"{_NAMES[engine]}, {form}" for engine in _NAMES for form in ("bare", "planned")]
    rows = [f"| rule | {' | '.join(heads)} | judgement |", "| --- | --- | --- | --- | --- | --- |"]
    for rule in RULES:
        cells = [_cell(rule.slug, engine, place) for engine in _NAMES for place in (1, 2)]
        rows.append(f"| {rule.code} {rule.slug} | {' | '.join(cells)} | {thought[rule.slug]} |")
    return "\n".join([*_heads(), "", *rows, ""])


def _heads() -> list[str]:
    lines = []
    for engine, name in _NAMES.items():
        own = [row for row in results() if row[0].engine == engine]
        right = [row for row in own if row[0].is_right]
        bare, whole = sum(fails(row[1]) for row in right), sum(fails(row[2]) for row in right)
        lines.append(
            f"- {name}: {len(own)} commands, {len(right)} of them known to be taken by the engine or to serve; "
            f"of those `kvtop lint` fails {bare} as they are typed, and {whole} with their model and cards."
        )
    return lines


def _cell(slug: str, engine: str, place: int) -> str:
    counts = Counter(
        found.severity
        for row in results()
        if row[0].engine == engine
        for found in (row[1], row[2])[place - 1].findings
        if found.slug == slug
    )
    return " ".join(f"{counts[severity]} {letter}" for severity, letter in _SHORT if counts[severity]) or "-"
