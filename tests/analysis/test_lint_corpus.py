"""Real command lines, rewritten: what kvtop says of each is what a person expected, and the review page is current."""

from dataclasses import replace

import pytest

from tests.analysis import lint_review

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
