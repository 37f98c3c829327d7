"""Scenes for the dashboard's tests, and the golden files. KVTOP_ACCEPT=1 rewrites them."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kvtop.domain.frame import Frame
from tests.views.tui.tui_scenes import SCENES


@pytest.fixture(autouse=True)
async def eager_tasks() -> None:
    """Tasks begin at once, as they do in the dashboard from Python 3.12 on; `run_test` leaves the loop as it is."""
    if sys.version_info >= (3, 12):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)


@pytest.fixture(scope="session")
def scenes() -> dict[str, Callable[[], Frame]]:
    """Every scene by its name."""
    return SCENES


@pytest.fixture
def same_as_golden() -> Callable[[Path, str], None]:
    """Compares with a file, or writes it when the person accepts."""

    def check(path: Path, text: str) -> None:
        if os.environ.get("KVTOP_ACCEPT"):
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path.name} is missing: KVTOP_ACCEPT=1 writes it"
        assert text == path.read_text(encoding="utf-8"), f"{path.name} differs: look, then KVTOP_ACCEPT=1"

    return check
