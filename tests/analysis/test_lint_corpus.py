"""Real command lines, rewritten: what kvtop says of each is what a person expected, and the review page is current."""

from collections import Counter
from dataclasses import replace

import pytest

from kvtop.analysis.lint.rules import RULES
from tests.analysis import lint_rates, lint_review

CASES = lint_review.cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_a_command_line_has_the_findings_that_a_person_expects(case: lint_review.Case) -> None:
    result = lint_review.linted(case)
    assert {it.slug for it in result.findings} == case.expected
    unasked = {it.slug for it in result.not_evaluated}
    assert not {it.slug for it in result.findings} & unasked
    assert case.unasked <= unasked


def test_the_corpus_is_large_enough_and_names_nobody_twice() -> None:
    assert len(CASES) >= 40
    assert len({case.id for case in CASES}) == len(CASES)


def test_the_review_page_is_current() -> None:
    page = lint_review.PAGE.read_text(encoding="utf-8")
    assert page == lint_review.renewed(page)


def test_a_finding_whose_input_is_taken_away_is_not_passed_over() -> None:
    """Without the model or the card a rule fires all the same, or says what it lacks; it never counts as passed."""
    for case in CASES:
        slugs = {it.slug for it in lint_review.linted(case).findings}
        for less in ({"model": "", "draft": ""}, {"gpus": ()}, {"model": "", "draft": "", "gpus": ()}):
            if not case.example.model and "gpus" not in less:
                continue
            result = lint_review.linted(replace(case, example=replace(case.example, **less)))
            told = {it.slug for it in result.findings} | {it.slug for it in result.not_evaluated}
            assert slugs - told <= ({"start-refused"} if "-sm row" in case.example.command else set()), (case.id, less)


QUALITY = {"symmetric-q4", "sensitive-model-quantized-cache"}
"""What was measured on those very families; their commands serve all the same."""


REFUSED = ("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "Chunked prefill is required for mamba cache mode 'align'")
"""What vLLM 0.32.0 itself says of two of them: one's recipe sets the variable, the other is of an older version."""


def test_a_published_command_that_works_passes() -> None:
    """But for measured harm to quality, and for what the engine itself refuses."""
    for it, bare, whole in lint_rates.results():
        if it.is_right:
            found = [one for result in (bare, whole) for one in result.at_least("warning")]
            told = {one.slug for one in found if not any(words in one.message for words in REFUSED)}
            assert told <= QUALITY, (it.command, told)


def test_no_rule_stands_in_most_lints() -> None:
    """One that fires on nearly everybody informs nobody."""
    for engine, most in (("vllm", 0.25), ("llama.cpp", 0.35)):
        rows = [row for row in lint_rates.results() if row[0].engine == engine]
        for place in (1, 2):
            fired = Counter(slug for row in rows for slug in {one.slug for one in (row[1], row[2])[place - 1].findings})
            assert max(fired.values()) <= most * len(rows), fired.most_common(1)


def test_every_rule_has_a_judgement() -> None:
    assert lint_rates.judgements().keys() == {rule.slug for rule in RULES}
