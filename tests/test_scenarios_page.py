"""docs/scenarios.md holds what its script prints now."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parent / "scenarios" / "scenarios_page.py"


def test_the_scenarios_page_is_what_its_script_prints() -> None:
    spec = importlib.util.spec_from_file_location("scenarios_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.PAGE.read_text(encoding="utf-8")
    assert script.renewed(page) == page, f"run python {SCRIPT.relative_to(SCRIPT.parents[2])}"
