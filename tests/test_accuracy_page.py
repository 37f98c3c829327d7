"""docs/accuracy.md holds what the oracle tables print now: numbers in the docs come from a command."""

from tests.oracle.accuracy_page import PAGE, renewed


def test_the_accuracy_page_is_what_the_tables_print() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "run python -m tests.oracle.accuracy_page"
    for total in (
        "| **12 models at real size** | 388 | 388 | 388 |",
        "| **40 models at real size** | 1854 | 1854 | 1854 |",
    ):
        assert total in page, "every answer of the engine is met"
