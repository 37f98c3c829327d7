"""The table of processes, on real ones: recognised, with children, under their own name after exec."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvtop.sources.processes.discovery import FoundProcess, ProcessTable, own_user
from kvtop.sources.processes.linux import DESCRIPTORS_NOTE
from kvtop.sources.processes.portable import PortableReader

MARK = "kvtop-test-server"
SLEEP = "import time; time.sleep(60)"
BELOW = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}, *sys.argv[1:2]]).wait()"
SERVER = f"""
import os, socket, subprocess, sys, time
kind = sys.argv[2]
if kind == "child":
    children = [subprocess.Popen([sys.executable, "-c", code]) for code in ({SLEEP!r}, {BELOW!r})]
    print(*(child.pid for child in children), flush=True)
elif kind == "fork":
    pid = os.fork()
    if pid:
        print(pid, flush=True)
elif kind == "port":
    door = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid:
        print(pid, flush=True)
    else:
        door.close()
        own = socket.create_server(("127.0.0.1", 0))
else:
    print(flush=True)
time.sleep(60)
"""


def recognises(_: str, argv: tuple[str, ...]) -> bool:
    return MARK in argv


@contextmanager
def server(kind: str = "alone", **more: str) -> Iterator[tuple[int, list[int]]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, MARK, kind, "--api-key", "canary-1"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **more},
    )
    try:
        assert process.stdout is not None
        yield process.pid, [int(word) for word in process.stdout.readline().split()]
    finally:
        os.killpg(process.pid, 9)
        process.communicate()


def wait_for(table: ProcessTable, found: Callable[[dict[int, FoundProcess]], bool]) -> dict[int, FoundProcess]:
    ends = time.monotonic() + 60
    while True:
        seen = {it.process.pid: it for it in table.look()}
        if found(seen) or time.monotonic() > ends:
            return seen
        time.sleep(0.02)


def test_facts_of_a_recognised_process() -> None:
    with server(HF_HOME="/hub", SECRET_TOKEN="canary-2") as (pid, _):
        found = {it.process.pid: it for it in ProcessTable(recognises).look()}[pid]
    process = found.process
    assert found.environ["HF_HOME"] == "/hub"
    assert dict(process.environ or ())["HF_HOME"] == "/hub"
    assert "canary" not in repr(process)
    assert process.user == own_user()
    assert process.cwd == str(Path.cwd())
    assert process.rss_bytes
    assert process.shares_network is True
    assert process.addresses == ()
    assert (process.unreadable, process.notes, process.container) == ((), (), None)
    assert process.started_at is not None
    assert abs(process.started_at - time.time()) < 30


def test_descendants_belong_to_their_server() -> None:
    with server("child") as (pid, children):
        found = wait_for(ProcessTable(recognises), lambda seen: len(seen[pid].pids) == 4)[pid]
        assert set(children) < set(found.pids)
        assert found.pids[0] == pid
        assert found.process.children == tuple(sorted(found.pids[1:]))
        assert all(child.rss_bytes for child in found.children)
        assert "canary" not in repr(found.children)


def test_a_fork_is_a_child_and_no_second_server() -> None:
    with server("fork") as (pid, (child,)):
        seen = wait_for(ProcessTable(recognises), lambda seen: len(seen[pid].pids) == 2)
        assert seen[pid].pids == (pid, child)
        assert child not in seen


def test_a_fork_with_a_port_of_its_own_is_a_server_of_its_own() -> None:
    """The same command line, but another endpoint."""
    with server("port") as (pid, (child,)):
        seen = wait_for(ProcessTable(recognises), lambda seen: child in seen)
        assert seen[child].pids == (child,)
        assert seen[pid].pids == (pid,)


def test_a_server_below_a_server_is_its_own() -> None:
    process = subprocess.Popen([sys.executable, "-c", BELOW, MARK, "above"], start_new_session=True)
    try:
        seen = wait_for(ProcessTable(recognises), lambda seen: len(seen) == 2)
        assert len(seen) == 2
        assert all(len(found.pids) == 1 for found in seen.values())
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_a_process_that_becomes_a_server_is_found() -> None:
    code = f"import os, sys; sys.stdin.read(); os.execv(sys.executable, [sys.executable, '-c', {SLEEP!r}, 'become'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    table = ProcessTable(lambda _, argv: argv[-1:] == ("become",))
    try:
        assert process.pid not in {it.process.pid for it in table.look()}
        assert process.stdin is not None
        process.stdin.close()
        assert process.pid in wait_for(table, lambda seen: process.pid in seen)
    finally:
        process.kill()
        process.wait()


def test_a_program_that_was_deleted_says_so(tmp_path: Path) -> None:
    program = tmp_path / "server"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    process = subprocess.Popen([str(program), "60"])
    program.unlink()
    try:
        table = ProcessTable(lambda _, argv: argv[:1] == (str(program),))
        found = wait_for(table, lambda seen: process.pid in seen)[process.pid]
        assert found.process.executable == f"{program} (deleted)"
        assert found.process.notes == ("its program was replaced or deleted since it started",)
    finally:
        process.kill()
        process.wait()


def test_a_process_that_ends_is_gone() -> None:
    table = ProcessTable(recognises)
    with server() as (pid, _):
        assert pid in {it.process.pid for it in table.look()}
    assert pid not in {it.process.pid for it in table.look()}


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")
def test_what_another_user_may_not_read_is_told() -> None:
    code = f"""
import os, sys
from kvtop.sources.processes.discovery import ProcessTable
ProcessTable(lambda *_: True).look()  # every module is loaded while it may be read
os.setgroups([]); os.setgid(65534); os.setuid(65534)
table = ProcessTable(lambda _, argv: {MARK!r} in argv)
(found,) = [it for it in table.look() if it.process.pid == int(sys.argv[1])]
it = found.process
print(it.environ, it.cwd, it.executable, it.shares_network, bool(it.rss_bytes), found.environ)
print(*it.unreadable, sep="\\n")
"""
    with server() as (pid, _):
        done = subprocess.run([sys.executable, "-c", code, str(pid)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *unreadable = done.stdout.splitlines()
    assert first == "None None None True True {}"
    denied = "permission denied"
    assert unreadable == [f"environ: {denied}", f"exe: {denied}", f"cwd: {denied}", DESCRIPTORS_NOTE]


def test_odd_directories_break_nothing(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "13").mkdir()
    (tmp_path / "13/stat").write_bytes(b"13 (a) b) S")
    (tmp_path / "14").mkdir()
    (tmp_path / "14/stat").write_bytes(b"14 (x (y) z) S 1 " + b"0 " * 17 + b"77 0\n")
    (tmp_path / "14/cmdline").write_bytes(b"")
    assert ProcessTable(lambda *_: True, tmp_path).look() == ()
    (tmp_path / "14/cmdline").write_bytes(b"x\xff\0y\0")
    (found,) = ProcessTable(lambda *_: True, tmp_path).look()
    assert (found.process.name, found.process.ppid) == ("x (y) z", 1)
    assert found.argv == ("x\udcff", "y")


def test_without_proc_the_same_is_read_another_way() -> None:
    """The reader for macOS, held against the one for Linux on the same processes."""
    with server("child", HF_HOME="/hub", SECRET_TOKEN="canary-3") as (pid, _):
        linux = wait_for(ProcessTable(recognises), lambda seen: len(seen[pid].pids) == 4)[pid]
        table = ProcessTable(recognises, reader=PortableReader())
        portable = wait_for(table, lambda seen: len(seen[pid].pids) == 4)[pid]
        assert pid in {it.process.pid for it in table.look()}
    one, other = linux.process, portable.process
    for name in ("pid", "ppid", "argv", "executable", "cwd", "environ", "user", "listeners", "listeners_certain"):
        assert getattr(one, name) == getattr(other, name), name
    assert (linux.argv, linux.environ, linux.pids) == (portable.argv, portable.environ, portable.pids)
    assert one.started_at is not None
    assert other.started_at is not None
    assert abs(one.started_at - other.started_at) < 2
    assert other.rss_bytes is not None
    assert abs((one.rss_bytes or 0) - other.rss_bytes) < 2**22
    assert [child.name for child in linux.children] == [child.name for child in portable.children]
    assert "canary" not in repr(other)
    assert pid not in {it.process.pid for it in table.look()}
