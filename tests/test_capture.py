"""Snapshots and recordings kept from within the dashboard."""

import json
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from kvtop.app.capture import Recorder
from kvtop.app.frames import last_frame
from kvtop.domain.sample import Sample
from kvtop.sources.demo import EPOCH, SCENARIOS
from kvtop.sources.recordings.reader import Recording
from kvtop.views.export.snapshot.formats import render


async def seconds(count: int) -> AsyncIterator[Sample]:
    for second in range(count):
        yield SCENARIOS[0].at(float(second))


async def test_a_recording_has_the_samples_between_start_and_end(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1.0, render)
    passed = 0
    async for _ in recorder.watched(lambda: seconds(40))():
        passed += 1
        if passed == 10:
            assert "recording to" in recorder.toggle_recording()
        if passed == 20:
            assert recorder.status.startswith("recording 0s, ")
            path = recorder.path
            assert "10 ticks in" in recorder.toggle_recording()
            assert recorder.status == ""
    assert passed == 40
    assert path is not None
    recording = Recording(path)
    assert [time - EPOCH for time in recording.times] == [float(second) for second in range(10, 20)]


async def test_a_full_disk_ends_the_recording_and_not_the_dashboard(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1.0, render)
    recorder.toggle_recording()
    path = recorder.path
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
    try:
        passed = [sample async for sample in recorder.watched(lambda: seconds(200))()]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert len(passed) == 200
    assert "File too large" in recorder.status
    assert recorder.path is None
    assert path is not None
    assert len(Recording(path)) > 5


def test_a_snapshot_is_three_files_or_a_sentence(tmp_path: Path) -> None:
    frame = last_frame([SCENARIOS[0].at(8.0)])
    said = Recorder(tmp_path, 1.0, render).save_snapshot(frame)
    assert said.startswith(f"snapshot in {tmp_path}")
    files = {path.suffix: path for path in tmp_path.iterdir()}
    assert set(files) == {".json", ".md", ".svg"}
    assert json.loads(files[".json"].read_text(encoding="utf-8"))["host"] == "workstation"
    missing = tmp_path / "none"
    assert Recorder(missing, 1.0, render).save_snapshot(frame) == f"no snapshot: {missing}: No such file or directory"
    assert "no recording" in Recorder(missing, 1.0, render).toggle_recording()
