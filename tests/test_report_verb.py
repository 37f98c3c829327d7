"""`kvtop report`: one archive that says it all and can be played."""

import io
import json
import os
import platform
import signal
import subprocess
import sys
import time
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.sources.demo import SCENARIOS
from kvtop.sources.recordings.framing import RecordingError
from kvtop.sources.recordings.reader import Recording
from kvtop.verbs import report

COMMAND = [sys.executable, "-m", "kvtop"]


def kvtop(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=240, check=False, cwd=cwd, env=env
    )


def test_the_archive_has_everything_and_plays(tmp_path: Path) -> None:
    path = tmp_path / "report.zip"
    done = kvtop("report", "--demo", "rtx4090_llamacpp", "-o", str(path))
    assert (done.returncode, done.stdout) == (0, "")
    assert "61 ticks" in done.stderr
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        documents = {"snapshot.md", "snapshot.json", "overview.svg", "doctor.txt", "system.txt"}
        assert set(archive.namelist()) == documents | {"recording.kvtop"}
        assert archive.read("doctor.txt").decode().startswith("kvtop 0.")
        assert "127.0.0.1:8080: llama.cpp b11434: ready" in archive.read("doctor.txt").decode()
        system = dict(line.split(": ", 1) for line in archive.read("system.txt").decode().splitlines())
        assert system["Python"].endswith(platform.python_version())
        assert system["textual"] == version("textual")
        assert system.keys() >= {"kvtop", "system", "kernel", "terminal", "terminal size", "encoding", "variables"}
        document = json.loads(archive.read("snapshot.json"))
        assert archive.read("snapshot.md").startswith(b"# kvtop snapshot of workstation")
    recording = Recording(path)
    assert recording.sample(60) == next(it for it in SCENARIOS if it.name == "rtx4090_llamacpp").at(60.0)
    replayed = kvtop("replay", str(path), "--json")
    assert json.loads(replayed.stdout) == document


def test_an_anonymous_report_names_nobody(tmp_path: Path) -> None:
    done = kvtop("report", "--demo", "rtx4090_llamacpp", "--anonymize", "--seconds", "5", cwd=tmp_path)
    assert done.returncode == 0
    (path,) = tmp_path.glob("kvtop-report-*.zip")
    with zipfile.ZipFile(path) as archive:
        texts = b"".join(archive.read(name) for name in archive.namelist() if name != "recording.kvtop")
    shown = texts.decode() + repr([Recording(path).sample(index) for index in range(6)])
    for word in ("workstation", "gemma-3", "/models", "'llm'"):
        assert word not in shown
    assert "host-1" in shown
    assert path.stat().st_size < 30_000, "the model is in it once"


def has_a_tick(recording: Path) -> bool:
    try:
        return len(Recording(recording)) > 0
    except RecordingError:
        return False


def test_a_live_report_may_be_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    (tmp_path / "own").mkdir()
    process = subprocess.Popen(
        [*COMMAND, "report", "-o", str(path), "--seconds", "600"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "own")},
    )
    assert process.stderr is not None
    assert "measuring for 600 seconds" in process.stderr.readline()
    ends = time.monotonic() + 120
    while not any(has_a_tick(it) for it in tmp_path.glob("own/*/*")):
        assert time.monotonic() < ends
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert len(Recording(path)) >= 1


def test_bad_words_and_places(tmp_path: Path) -> None:
    assert kvtop("report", "--demo", "--seconds", "0").returncode == 2
    done = kvtop("report", "--demo", "--seconds", "1", "-o", str(tmp_path / "none" / "x.zip"))
    assert done.returncode == 1
    assert "cannot be written: No such file" in done.stderr


def test_an_archive_is_called_one(tmp_path: Path) -> None:
    done = kvtop("report", "--demo", "-o", str(tmp_path / "x.png"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("x.png: the archive is a .zip file, not .png\n")
    assert list(tmp_path.iterdir()) == []


def test_a_clock_before_1980_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board without a clock of its own starts in 1970, which the format of archives cannot write."""
    (tmp_path / "recording.kvtop").write_bytes(b"x")
    os.utime(tmp_path / "recording.kvtop", (0, 0))
    monkeypatch.setattr("time.localtime", lambda *_: time.gmtime(0))
    frame = analyse(History(), SCENARIOS[0].at(8.0), "1")
    content = report._zipped(frame, tmp_path / "recording.kvtop", {"doctor.txt": "x"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert "snapshot.json" in archive.namelist()
