"""docs/accuracy.md holds what the oracle tables print now: numbers in the docs come from a command."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parent / "oracle" / "accuracy_page.py"


def test_the_accuracy_page_is_what_the_tables_print() -> None:
    spec = importlib.util.spec_from_file_location("accuracy_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.PAGE.read_text(encoding="utf-8")
    assert script.renewed(page) == page, f"run python {SCRIPT.relative_to(SCRIPT.parents[2])}"
    for total in (
        "| **12 models at real size** | 388 | 388 | 388 |",
        "| **40 models at real size** | 1854 | 1854 | 1854 |",
    ):
        assert total in page, "every answer of the engine is met"
