"""A group hides no failure: what one failure says of many cases."""

from collections.abc import Iterator

import pytest

from tests.oracle.every_case import CASES_IN_FULL, Answer, EveryCase, grouped


def _doubled(case: int) -> Iterator[Answer]:
    yield "double", case * 2, case + case
    yield "small", case < 10, True


def _failure(chosen: str, *cases: int) -> str:
    with pytest.raises(pytest.fail.Exception) as failure:
        EveryCase(chosen)({f"case-{case}": case for case in cases}, _doubled)
    return str(failure.value)


def test_equal_answers_pass() -> None:
    EveryCase()({"case-1": 1, "case-2": 2}, _doubled)


def test_every_case_that_differs_is_told_with_what_differs() -> None:
    said = _failure("", *range(13))
    assert said.startswith("3 of 13 cases differ\nin small: 3\n")
    for case in (10, 11, 12):
        assert f"case-{case}\n  small: False, recorded True" in said
    assert "case-9" not in said
    assert "double" not in said


def test_of_very_many_every_id_is_told() -> None:
    said = _failure("", *range(1010))
    assert said.startswith("1000 of 1010 cases differ\n")
    assert f"and {1000 - CASES_IN_FULL} more:" in said
    words = said.split()
    assert all(f"case-{case}" in words for case in range(10, 1010))


def test_an_exception_is_a_difference_of_its_case_alone() -> None:
    def answers(case: int) -> Iterator[Answer]:
        yield "inverse", 1 / case, 1.0

    with pytest.raises(pytest.fail.Exception) as failure:
        EveryCase()({"zero": 0, "one": 1, "two": 2}, answers)
    said = str(failure.value)
    assert said.startswith("2 of 3 cases differ\n")
    assert "ZeroDivisionError: division by zero at " in said
    assert "two\n  inverse: 0.5, recorded 1.0" in said


def test_a_case_can_be_chosen() -> None:
    assert _failure("case-11", 10, 11, 12).startswith("1 of 1 cases differ\n")
    with pytest.raises(pytest.skip.Exception, match="case-13"):
        EveryCase("case-13")({"case-12": 12}, _doubled)


def test_no_case_at_all_is_no_success() -> None:
    with pytest.raises(AssertionError, match="compares nothing"):
        EveryCase()({}, _doubled)


def test_no_case_is_lost_to_another_of_its_name() -> None:
    assert grouped([("a", "1", "x"), ("b", "1", "y"), ("a", "2", "z")]) == {"a": {"1": "x", "2": "z"}, "b": {"1": "y"}}
    with pytest.raises(ValueError, match="two cases of a are called 1"):
        grouped([("a", "1", "x"), ("a", "1", "y")])
