"""`kvtop wrap`, with a program that stands in for mlx_lm.server and for MLX's counters.

The real server runs in tests/engines/test_mlx.py; here are the things that it does not do on request: die, be killed,
be started in odd ways, report nonsense.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvtop.domain.process import Process
from kvtop.domain.sample import Failure
from kvtop.domain.server import ServerReading, ServerState
from kvtop.io.private_directory import private_directory
from kvtop.sources.engines.mlx import UNWRAPPED
from kvtop.sources.processes.discovery import FoundProcess, ProcessTable, own_user
from kvtop.sources.rights import reading
from kvtop.sources.rights.credentials import own_credentials
from kvtop.sources.server_files.mlx_reports import MlxReport, mlx_report, with_report
from kvtop.sources.tools.wrapped_command import REPORT_VARIABLE, WrapError, interpreter_of, remove_left_over

ROOT = Path(__file__).resolve().parents[2]
CORE = """
__version__ = "0.0.standin"
def get_active_memory(): return 1000
def get_cache_memory(): return 20
def get_peak_memory(): return 3000
"""
SERVER = """
import json, os, sys
import mlx.core
print(json.dumps({"argv": sys.argv, "path": sys.path[0], "name": __name__, "flags": sys.flags.dev_mode}), flush=True)
word = sys.argv[-1]
if word == "raise":
    raise ValueError("the server's own error")
if word.isdigit():
    sys.exit(int(word))
sys.stdin.read()
"""


@dataclass(frozen=True)
class Bench:
    """A folder with a pretended mlx_lm.server, and the environment it runs in."""

    home: Path
    environ: dict[str, str]

    @property
    def script(self) -> str:
        return str(self.home / "bin/mlx_lm.server")

    @property
    def reports(self) -> Path:
        return self.home / "run/kvtop"

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "kvtop", "wrap", "--", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "kvtop", "wrap", "--", *words]
        return subprocess.run(command, env=self.environ, input="", capture_output=True, text=True, check=False)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/mlx_lm.server"
    script.write_text(f"#!{sys.executable}\n{SERVER}")
    script.chmod(0o755)
    (tmp_path / "site/mlx").mkdir(parents=True)
    (tmp_path / "site/mlx/core.py").write_text(CORE)
    (tmp_path / "site/mlx/__init__.py").write_text("")
    (tmp_path / "site/mlx_lm").mkdir()
    (tmp_path / "site/mlx_lm/__init__.py").write_text("__version__ = '1.2.standin'\n")
    (tmp_path / "site/mlx_lm/server.py").write_text(SERVER)
    (tmp_path / "run").mkdir(mode=0o700)
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    return Bench(tmp_path, {**environ, "PYTHONPATH": f"{ROOT}:{tmp_path}/site"})


def found(pid: int) -> FoundProcess:
    return next(it for it in ProcessTable(lambda *_: True).look() if it.process.pid == pid)


def until(answer: Callable[[], MlxReport | Failure | None]) -> MlxReport | Failure | None:
    ends = time.monotonic() + 60
    while (got := answer()) is None and time.monotonic() < ends:
        time.sleep(0.05)
    return got


def test_the_process_becomes_the_server_and_reports(bench: Bench) -> None:
    process = bench.start("mlx_lm.server", "--model", "m")
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["argv"] == [bench.script, "--model", "m"]
        assert said["path"] == str(bench.home / "bin")
        assert said["name"] == "__main__"
        report = until(lambda: mlx_report(found(process.pid)))
        assert isinstance(report, MlxReport)
        memory = report.memory
        assert (memory.active_bytes, memory.kept_bytes, memory.peak_bytes, memory.total_bytes) == (1000, 20, 3000, 1020)
        (file,) = bench.reports.iterdir()
        assert file.name == f"mlx-{process.pid}.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(bench.reports.stat().st_mode) == 0o700
    finally:
        _, errors = process.communicate("")
    assert (process.returncode, errors) == (0, "")
    assert list(bench.reports.iterdir()) == []


@pytest.mark.parametrize("words", [["python", "-m", "mlx_lm.server"], ["python", "-X", "dev", "-m", "mlx_lm.server"]])
def test_as_a_module(bench: Bench, words: list[str]) -> None:
    done = bench.run(sys.executable, *words[1:], "--model", "m", "7")
    said = json.loads(done.stdout)
    assert said["argv"][1:] == ["--model", "m", "7"]
    assert said["argv"][0].endswith("mlx_lm/server.py")
    assert (done.returncode, said["name"], said["flags"]) == (7, "__main__", "dev" in words)
    assert said["path"] == str(Path.cwd())


def test_exit_codes_and_tracebacks_are_the_servers(bench: Bench) -> None:
    assert bench.run("mlx_lm.server", "3").returncode == 3
    raised = bench.run("mlx_lm.server", "raise")
    assert raised.returncode == 1
    assert "ValueError: the server's own error" in raised.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_the_server_and_what_it_leaves_is_swept(bench: Bench, number: signal.Signals) -> None:
    process = bench.start("mlx_lm.server", "--model", "m")
    assert process.stdout is not None
    process.stdout.readline()
    until(lambda: mlx_report(found(process.pid)))
    process.send_signal(number)
    process.communicate()
    assert process.returncode == -number
    remove_left_over(bench.reports)
    assert list(bench.reports.iterdir()) == []


def test_without_a_private_folder_the_server_still_runs(bench: Bench) -> None:
    bench.reports.mkdir(mode=0o755)
    done = bench.run("mlx_lm.server", "5")
    assert done.returncode == 5
    assert "the server runs without them" in done.stderr
    assert "chmod 700" in done.stderr
    assert list(bench.reports.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "understood"),
        (["frobnicate"], 2, "understood"),
        (["llama-server", "-m", "x"], 2, "llama.cpp reports its memory without help"),
        (["/nowhere/mlx_lm.server"], 127, "not found"),
        (["./mlx_lm.server"], 127, "not found"),
    ],
)
def test_what_is_not_wrapped(bench: Bench, words: list[str], code: int, message: str) -> None:
    done = bench.run(*words)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.startswith("kvtop wrap: ")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("#!/venv/bin/python\n", ["/venv/bin/python"]),
        ("#! /venv/bin/python3.12 -I\n", ["/venv/bin/python3.12", "-I"]),
        ("#!/usr/bin/env -S python3\n", None),
        ("#!/bin/sh\n'''exec' \"/a long/path/python3\" \"$0\" \"$@\"\n' '''\n", ["/a long/path/python3"]),
        ("#!/bin/sh\nexec something\n", WrapError),
        ("\x7fELF\x02", WrapError),
        ("", WrapError),
    ],
)
def test_the_interpreter_of_a_script(tmp_path: Path, head: str, expected: list[str] | type | None) -> None:
    script = tmp_path / "mlx_lm.server"
    script.write_text(head)
    if expected is WrapError:
        with pytest.raises(WrapError, match=r"python -m mlx_lm\.server"):
            interpreter_of(str(script), {})
        return
    words = interpreter_of(str(script), {"PATH": os.environ["PATH"]})
    assert words == expected if expected is not None else words[0].endswith("/python3")


def report_of(tmp_path: Path, content: bytes | None, *, uid: int | None = None) -> MlxReport | Failure | None:
    """What is made of a file with this content, for this very process."""
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
        if uid is not None:
            os.chown(path, uid, uid)
    process = Process(os.getpid(), 1, "python", ("python",))
    return mlx_report(FoundProcess(process, ("python",), {REPORT_VARIABLE: str(path)}))


def content(**changes: object) -> bytes:
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    whole: dict[str, object] = {
        "schema": "kvtop.mlx-memory/1",
        "started_ticks": ticks,
        "taken_at": time.time(),
        "active_bytes": 5,
        "cache_bytes": 0,
        "peak_bytes": 7,
        "mlx_lm_version": "0.32\x1b[31m",
    }
    return json.dumps(whole | changes).encode()


def test_a_whole_report(tmp_path: Path) -> None:
    report = report_of(tmp_path, content())
    assert isinstance(report, MlxReport)
    assert report.memory.total_bytes == 5
    assert report.version == "0.32\ufffd[31m"
    bare = ServerReading("s", "mlx", ServerState.READY, hint=UNWRAPPED)
    reading = with_report(bare, report)
    assert reading.hint == ""
    (memory,) = reading.memory_reports
    assert (memory.device_id, memory.active_bytes) == ("host", 5)


def test_where_there_is_no_proc_the_pid_and_the_user_must_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "credentials_of", lambda *_: own_credentials())
    path = tmp_path / "report.json"
    path.write_bytes(content(pid=4242, started_ticks=None))
    environ = {REPORT_VARIABLE: str(path)}
    mine = FoundProcess(Process(4242, 1, "python", (), user=own_user()), (), environ)
    assert isinstance(mlx_report(mine, tmp_path / "no-proc"), MlxReport)
    other = FoundProcess(Process(4243, 1, "python", (), user=own_user()), (), environ)
    assert mlx_report(other, tmp_path / "no-proc") is None
    foreign = FoundProcess(Process(4242, 1, "python", (), user="somebody"), (), environ)
    assert isinstance(mlx_report(foreign, tmp_path / "no-proc"), Failure)


def test_no_file_yet_and_a_file_of_an_earlier_process_say_nothing(tmp_path: Path) -> None:
    assert report_of(tmp_path, None) is None
    assert report_of(tmp_path, content(started_ticks=1)) is None
    assert mlx_report(FoundProcess(Process(os.getpid(), 1, "x", ()), (), {})) is None


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (b"", "no memory report"),
        (b"[" * 3000, "no memory report"),
        (b'{"schema": "other"}', "no memory report"),
        ({"taken_at": 1.0}, "s old"),
        ({"taken_at": float("nan")}, "s old"),
        ({"taken_at": "x"}, "no memory report"),
        ({"active_bytes": -1}, "lacks counters"),
        ({"active_bytes": True}, "lacks counters"),
        ({"cache_bytes": "9"}, "lacks counters"),
    ],
)
def test_nonsense_is_a_failure_and_never_a_number(
    tmp_path: Path, written: bytes | dict[str, object], words: str
) -> None:
    # Made here and not above: a report grows old while other tests run.
    report = report_of(tmp_path, written if isinstance(written, bytes) else content(**written))
    assert isinstance(report, Failure)
    assert words in report.message
    assert report.remedy


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file away, which only root may")
def test_a_file_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    report = report_of(tmp_path, content(), uid=65534)
    assert isinstance(report, Failure)
    assert "another user" in report.message


def test_a_private_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert private_directory({"XDG_RUNTIME_DIR": str(run)}) == run / "kvtop"
    fallback = private_directory({"XDG_RUNTIME_DIR": str(tmp_path / "none"), "TMPDIR": str(tmp_path)})
    assert fallback == tmp_path / f"kvtop-{os.getuid()}"
    assert stat.S_IMODE(fallback.stat().st_mode) == 0o700
    fallback.rmdir()
    fallback.symlink_to(run / "kvtop")
    with pytest.raises(PermissionError, match="another user"):
        private_directory({"TMPDIR": str(tmp_path)})
