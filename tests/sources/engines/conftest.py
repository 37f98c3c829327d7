"""Recorded replies of real servers: `recorded("llamacpp/default", "props")`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kvtop.sources.endpoints.http import Reply

_FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def recorded() -> Callable[[str, str], Reply]:
    """The reply in `tests/fixtures/<folder>/<name>.http`."""

    def read(folder: str, name: str) -> Reply:
        text = (_FIXTURES / folder / f"{name}.http").read_text(encoding="utf-8")
        request, status, body = text.split("\n\n", 2)
        return Reply(request.split()[1], int(status.split()[1]), body.encode())

    return read
