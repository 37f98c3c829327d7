"""Recordings of the scenarios."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kvtop.sources.demo import SCENARIOS, Scenario
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.writer import RecordingWriter

Record = Callable[..., Path]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Writes a scenario's first seconds to a file: `record(SCENARIOS[0], 300)`."""

    def write(scenario: Scenario = SCENARIOS[0], ticks: int = 300, name: str = "demo.kvtop") -> Path:
        path = tmp_path / name
        writer = RecordingWriter(path, Info("1.2.3", 1.0))
        for second in range(ticks):
            writer.write(scenario.at(float(second)))
        writer.close()
        return path

    return write
