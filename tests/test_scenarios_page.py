"""docs/scenarios.md holds what its script prints now."""

from tests.scenarios.scenarios_page import PAGE, renewed


def test_the_scenarios_page_is_what_its_script_prints() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "run python -m tests.scenarios.scenarios_page"
