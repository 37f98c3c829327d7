"""Recorded replies of real servers: `recorded("llamacpp/default", "props")`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kvtop.sources.endpoints.http import Reply

_FIXTURES = Path(__file__).parents[2] / "fixtures"


def read_reply(path: Path) -> Reply:
    """The reply in one file."""
    request, status, body = path.read_text(encoding="utf-8").split("\n\n", 2)
    return Reply(request.split()[1], int(status.split()[1]), body.encode())


@pytest.fixture
def recorded() -> Callable[[str, str], Reply]:
    """The reply in `tests/fixtures/<folder>/<name>.http`."""
    return lambda folder, name: read_reply(_FIXTURES / folder / f"{name}.http")
