"""As many tests at once as the machine lends processors."""

import os
from pathlib import Path

import pytest

from tests.processors import processors


@pytest.mark.parametrize("limit", ["50000 100000\n", "100000 100000\n"])
def test_a_quota_counts(limit: str, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(limit, encoding="ascii")
    assert processors(tmp_path / "cpu.max") == 1


def test_without_a_quota_every_allowed_processor_counts(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n", encoding="ascii")
    count = processors(tmp_path / "cpu.max")
    assert count == processors(tmp_path / "none")
    assert 1 <= count <= (os.cpu_count() or 1)
