"""Real command lines, rewritten: what kvtop says of each is what a person expected, and the review page is current."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest


def _review() -> ModuleType:
    path = Path(__file__).with_name("lint_review.py")
    spec = importlib.util.spec_from_file_location("lint_review", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lint_review"] = module
    spec.loader.exec_module(module)
    return module


REVIEW = _review()
CASES = REVIEW.cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_a_command_line_has_the_findings_that_a_person_expects(case: object) -> None:
    result = REVIEW.linted(case)
    assert {it.slug for it in result.findings} == getattr(case, "expected")  # noqa: B009  the module is loaded by path
    unasked = {it.slug for it in result.not_evaluated}
    assert not {it.slug for it in result.findings} & unasked
    assert getattr(case, "unasked") <= unasked  # noqa: B009  see above


def test_the_corpus_is_large_enough_and_names_nobody_twice() -> None:
    assert len(CASES) >= 40
    assert len({case.id for case in CASES}) == len(CASES)


def test_the_review_page_is_current() -> None:
    page = REVIEW.PAGE.read_text(encoding="utf-8")
    assert page == REVIEW.renewed(page)


def test_a_finding_whose_input_is_taken_away_is_not_passed_over() -> None:
    """Without the model or the card a rule fires all the same, or says what it lacks; it never counts as passed."""
    for case in CASES:
        slugs = {it.slug for it in REVIEW.linted(case).findings}
        for less in ({"model": "", "draft": ""}, {"gpus": ()}, {"model": "", "draft": "", "gpus": ()}):
            if not case.example.model and "gpus" not in less:
                continue
            result = REVIEW.linted(replace(case, example=replace(case.example, **less)))
            told = {it.slug for it in result.findings} | {it.slug for it in result.not_evaluated}
            assert slugs - told <= ({"start-refused"} if "-sm row" in case.example.command else set()), (case.id, less)
