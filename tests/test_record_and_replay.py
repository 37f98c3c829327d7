"""`kvtop record` and `kvtop replay` as a person runs them, and as a machine ends them."""

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from kvtop.app.replay import moment
from kvtop.sources.demo import EPOCH, SCENARIOS
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.reader import Recording
from kvtop.sources.recordings.writer import RecordingWriter
from tests.command import kvtop

COMMAND = [sys.executable, "-m", "kvtop"]


@pytest.fixture
def minute(tmp_path: Path) -> Path:
    """A minute of the first scenario."""
    path = tmp_path / "minute.kvtop"
    writer = RecordingWriter(path, Info("1.2.3", 1.0))
    for second in range(61):
        writer.write(SCENARIOS[0].at(float(second)))
    writer.close()
    return path


def size_of(ticks: int, path: Path) -> int:
    """Bytes of the first ticks of the demo, as `begun` records them."""
    writer = RecordingWriter(path, Info("1.2.3", 0.5))
    for tick in range(ticks):
        writer.write(SCENARIOS[0].at(tick / 2))
    size = path.stat().st_size
    writer.close()
    path.unlink()
    return size


def begun(path: Path, limit_bytes: int | None = None) -> subprocess.Popen[str]:
    """A recording that has its first ticks."""
    some_bytes = size_of(2, path.with_suffix(".size"))

    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    command = [*COMMAND, "record", str(path), "--demo", "--interval", "0.5"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=limit)  # noqa: PLW1509
    ends = time.monotonic() + 120
    while (
        time.monotonic() < ends and process.poll() is None and not (path.exists() and path.stat().st_size > some_bytes)
    ):
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_it_well(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.kvtop"
    process = begun(path)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    recording = Recording(path)
    assert recording.note == ""
    assert f"{len(recording)} ticks" in errors


def test_a_kill_leaves_every_tick_before_it(tmp_path: Path) -> None:
    path = tmp_path / "x.kvtop"
    process = begun(path)
    process.kill()
    process.communicate(timeout=120)
    recording = Recording(path)
    assert recording.sample(len(recording) - 1).servers


def test_a_full_disk_leaves_every_tick_before_it(tmp_path: Path) -> None:
    path = tmp_path / "x.kvtop"
    process = begun(path, limit_bytes=size_of(4, path))
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert errors.startswith(f"kvtop: {path}: File too large; recording stopped, the ")
    recording = Recording(path)
    assert recording.note == ""
    assert f"the {len(recording)} ticks before can be read" in errors
    assert recording.sample(len(recording) - 1).servers


def test_duration_and_bad_words(tmp_path: Path) -> None:
    path = tmp_path / "x.kvtop"
    done = kvtop("record", str(path), "--demo", "--duration", "0.2s")
    assert (done.returncode, len(Recording(path))) == (0, 1)
    again = kvtop("record", str(path), "--demo", "--duration", "0.2s")
    assert again.returncode == 1
    assert "File exists" in again.stderr
    for flag, value, words in (("--duration", "soon", "1h30m"), ("--max-size", "1k", "64.0 KiB or more")):
        wrong = kvtop("record", str(tmp_path / "y"), "--demo", flag, value)
        assert wrong.returncode == 2
        assert flag in wrong.stderr
        assert words in wrong.stderr
        assert not (tmp_path / "y").exists()
    assert kvtop("record", str(tmp_path / "y"), "--demo", "no_such_scenario").returncode == 2
    assert not (tmp_path / "y").exists()
    misplaced = kvtop("record", "--demo", str(tmp_path / "y"))
    assert misplaced.returncode == 2
    assert "a file comes before --demo" in misplaced.stderr


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock on the wall is that of Greenwich, here and in processes that are started."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_a_moment_is_the_snapshot_of_that_moment(minute: Path) -> None:
    recording = Recording(minute)
    for at, second in (("20", 20), ("+20s", 20), ("-10s", 50), ("2026-11-23T00:00:30+00:00", 30), ("00:00:40", 40)):
        assert recording.times[moment(recording, at)] == EPOCH + second
    done = kvtop("replay", str(minute), "--at=00:00:40", "--json")
    assert done.stderr == ""
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads(kvtop("schema").stdout))
    assert document["taken_at"] == "2026-11-23T00:00:40.000+00:00"
    decoded = SCENARIOS[0].at(40.0).servers[0].slots
    assert decoded is not None
    assert [slot["used_tokens"] for slot in document["servers"][0]["slots"]] == [it.used_tokens for it in decoded]
    assert json.loads(kvtop("replay", str(minute), "--json").stdout)["taken_at"] == "2026-11-23T00:01:00.000+00:00"


def test_a_moment_outside_or_no_moment_says_what_there_is(minute: Path) -> None:
    recording = Recording(minute)
    for text in ("61s", "-90s", "2020-01-01T00:00:00Z"):
        with pytest.raises(ValueError, match=r"lies outside the recording \(2026-11-2"):
            moment(recording, text)
    with pytest.raises(ValueError, match=r"accepted: 90, \+1m30s"):
        moment(recording, "noon")
    assert recording.times[moment(recording, "0")] == EPOCH
    assert kvtop("replay", str(minute), "--at", "noon", "--json").returncode == 2


def test_replay_without_a_terminal_or_a_recording_is_one_sentence(minute: Path, tmp_path: Path) -> None:
    for done in (kvtop("replay", str(minute)), kvtop("replay", str(tmp_path / "none")), kvtop("replay", __file__)):
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
