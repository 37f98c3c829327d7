"""A server that crashes and starts again for days leaves nothing behind in who watches it."""

import asyncio
import threading
from pathlib import Path

import pytest

from tests.bench.bench_growth import BUDGET_BYTES, grown


def test_restarts_leave_nothing_behind(tmp_path: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("the resident set is read in /proc")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    found = asyncio.run(grown(120, tmp_path))
    assert found.models >= 100, "its model was read"
    assert found.bytes_per_restart < 4 * BUDGET_BYTES, "a header kept for each pid was 195 KiB"
    assert found.descriptors <= descriptors + 4
    assert found.threads <= threads + 4
