"""Logs of real processes: found by option, by variable or by where their output goes, read seldom."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.process import Process
from kvtop.sources.processes.discovery import FoundProcess
from kvtop.sources.server_files.server_logs import LOOK_SECONDS, READ_BYTES, ServerLogs

LOADED = """I srv    load_model: loading model 'm.gguf'
I load_tensors:        CPU model buffer size =   100.00 MiB
I llama_kv_cache:      CPU KV buffer size =    96.00 MiB
I sched_reserve:       CPU compute buffer size =    52.78 MiB
"""


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def child(output: Path, mode: str = "w") -> Iterator[int]:
    """A process whose stderr is that file."""
    with output.open(mode) as stream:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=stream)
    try:
        yield process.pid
    finally:
        process.communicate(b"\n")


def found(pid: int, *argv: str, started_at: float = 1.0, variable: str = "") -> FoundProcess:
    process = Process(pid, 1, "llama-server", argv, cwd=str(Path.cwd()), started_at=started_at)
    return FoundProcess(process, ("llama-server", *argv), {"LLAMA_LOG_FILE": variable})


def test_output_that_goes_into_a_file_is_a_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(LOADED)
    with child(log, "r+") as pid:
        ((number, reports),) = ServerLogs().look((found(pid),)).items()
    assert number == pid
    assert [report.memory.bytes_of(Segment.KV_CACHE) for report in reports] == [96 * 2**20]


@pytest.mark.parametrize("how", ["option", "joined", "variable"])
def test_a_log_file_is_read_where_the_server_was_told_to_write_it(tmp_path: Path, how: str) -> None:
    log = tmp_path / "own.log"
    log.write_text(LOADED)
    words = {"option": ("--log-file", str(log)), "joined": (f"--log-file={log}",), "variable": ()}[how]
    with child(tmp_path / "nothing.log") as pid:
        assert pid in ServerLogs().look((found(pid, *words, variable=str(log) if how == "variable" else ""),))


def test_a_log_is_looked_at_again_only_after_a_while_and_never_once_it_has_spoken(tmp_path: Path) -> None:
    log, clock = tmp_path / "server.log", Clock()
    logs = ServerLogs(clock=clock)
    with child(log) as pid:
        assert logs.look((found(pid),)) == {}
        log.write_text(LOADED)
        assert logs.look((found(pid),)) == {}
        clock.now += LOOK_SECONDS
        first = logs.look((found(pid),))
        assert pid in first
        log.write_text("")
        clock.now += LOOK_SECONDS
        assert logs.look((found(pid),)) == first
        assert logs.look((found(pid, started_at=2.0),)) == {}


def test_a_long_file_that_many_runs_appended_to_says_nothing_of_this_one(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(LOADED + "x" * READ_BYTES)
    with child(log, "a") as pid:
        assert ServerLogs().look((found(pid),)) == {}
    log.write_text("y\n" * 10 + LOADED)
    with child(log, "a") as pid:
        assert pid in ServerLogs().look((found(pid),))


def test_no_file_no_pipe_and_no_process_is_no_log(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with child(tmp_path / "empty.log") as pid:
        assert ServerLogs().look((found(pid, "--log-file", str(pipe)),)) == {}
        assert ServerLogs().look((found(pid, "--log-file", str(tmp_path / "absent")),)) == {}
    assert ServerLogs().look((found(2**22 + 17),)) == {}
