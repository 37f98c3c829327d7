"""Pids that a driver reports: named where /proc knows them, with the reason where it does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.sources.devices.nvml import NVML
from kvtop.sources.processes.foreign import foreign_failures, foreign_processes, hidden_processes, why_unknown

NOBODY = 2**22 + 17
"""Above pid_max: no process can have it."""


def device(*rows: tuple[int, int | None], name: str = "gpu0") -> Device:
    listed = tuple(ProcessMemory(pid, used) for pid, used in rows)
    return Device(name, "RTX", NVML, DeviceMemory(), listed, 0.0)


def test_a_process_of_this_machine_has_its_name() -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, "--api-key", "canary"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # before, it may have no arguments yet
        (found,) = foreign_processes([device((process.pid, 5), (os.getpid(), 1))], {os.getpid()})
    finally:
        process.communicate()
    assert found.pid == process.pid
    assert found.rss_bytes
    assert found.argv is not None
    assert "***" in found.argv
    assert "canary" not in repr(found)
    assert foreign_failures([device((process.pid, 5))], [found]) == ()


def test_a_pid_that_nobody_knows_says_why() -> None:
    devices = [device((NOBODY, 2**30), (NOBODY + 1, 2**20)), device((NOBODY, None), name="gpu1"), device(name="gpu2")]
    found = foreign_processes(devices, ())
    assert [(it.pid, it.name, it.argv) for it in found] == [(NOBODY, "?", None), (NOBODY + 1, "?", None)]
    assert found[0].unreadable[0].startswith("not in /proc: ")
    first, second = foreign_failures(devices, found)
    assert first.source == f"gpu0 pid {NOBODY}, {NOBODY + 1}"
    assert "hold 1.00 GiB and are not in /proc" in first.message
    assert "hold" not in second.message
    assert first.remedy


def test_a_list_that_could_not_be_read_holds_nobody() -> None:
    silent = Device("gpu0", "RTX", NVML, DeviceMemory(), None, 0.0)
    assert foreign_processes([silent], ()) == ()
    assert foreign_failures([silent], ()) == ()


@pytest.mark.parametrize(
    ("namespace", "mount", "reason", "remedy"),
    [
        ("pid:[4026532001]", "rw", "kvtop runs in a container", "--pid=host"),
        ("pid:[4026531836]", "rw,hidepid=2", "hidepid", "as root"),
        ("pid:[4026531836]", "rw,hidepid=invisible", "hidepid", "as root"),
        ("pid:[4026531836]", "rw,hidepid=0", "just ended", "where that process lives"),
    ],
)
def test_the_reason(tmp_path: Path, namespace: str, mount: str, reason: str, remedy: str) -> None:
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to(namespace)
    (tmp_path / "self/mountinfo").write_text(f"22 1 0:20 / /proc rw,nosuid shared:1 - proc proc {mount}\n")
    found = why_unknown(tmp_path)
    assert reason in found[0]
    assert remedy in found[1]


@pytest.mark.parametrize(
    ("mount", "first", "is_said"),
    [
        ("rw,hidepid=2", None, True),
        ("rw,hidepid=1", b"", True),
        ("rw,hidepid=invisible", b"/sbin/init\0", False),
        ("rw,hidepid=off", None, False),
        ("rw", None, False),
    ],
)
def test_processes_that_a_mount_hides_are_said(tmp_path: Path, mount: str, first: bytes | None, is_said: bool) -> None:
    """An empty list of servers looked like a machine without servers."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(f"22 1 0:20 / /proc rw,nosuid shared:1 - proc proc {mount}\n")
    if first is not None:
        (tmp_path / "1").mkdir()
        (tmp_path / "1/cmdline").write_bytes(first)
    failure = hidden_processes(tmp_path)
    assert (failure is not None) is is_said
    assert failure is None or ("hidepid" in failure.message and "as root" in failure.remedy)


def test_in_a_pid_namespace_of_its_own_the_reason_is_the_container() -> None:
    code = "from kvtop.sources.processes.foreign import why_unknown; print(why_unknown()[0])"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stderr.startswith("unshare:"):
        pytest.skip(f"a pid namespace is not permitted here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    assert "kvtop runs in a container" in done.stdout
