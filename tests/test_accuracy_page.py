"""docs/accuracy.md holds what the oracle tables print now: numbers in the docs come from a command."""

import pytest

from tests.oracle.accuracy_page import PAGE, TABLES, renewed


@pytest.mark.parametrize("table", TABLES)
def test_the_accuracy_page_is_what_a_table_prints(table: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page, (table,)) == page, "run python -m tests.oracle.accuracy_page"


def test_every_answer_of_the_engine_is_met() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "| **12 models at real size** | 388 | 388 | 388 |" in page
    assert "| **40 models at real size** | 1854 | 1854 | 1854 |" in page
