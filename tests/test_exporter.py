"""`kvtop exporter`: what it serves, to whom, and what it leaves behind."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_text

COMMAND = [sys.executable, "-m", "kvtop", "exporter"]


@pytest.fixture
def exporter() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """An exporter of a scenario with servers of several engines, and its URL."""
    command = [*COMMAND, "--demo", "mixed_host", "--listen", "127.0.0.1:0", "--interval", "0.5"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    match = re.search(r"http://\S+", process.stderr.readline())
    assert match is not None
    wait_until_measured(match[0])
    yield process, match[0]
    process.kill()
    process.communicate(timeout=120)


def wait_until_measured(url: str) -> None:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        try:
            with urllib.request.urlopen(url, timeout=60):
                return
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 503:
                    raise
            time.sleep(0.1)
    raise AssertionError("nothing was measured in 120 s")


def get(url: str, **headers: str) -> tuple[int, str, str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_both_formats_and_nothing_else(exporter: tuple[subprocess.Popen[str], str]) -> None:
    process, url = exporter
    status, kind, text = get(url)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    names = {sample.name for family in parse_text(text) for sample in family.samples}
    assert {
        "kvtop_server_memory_bytes",
        "kvtop_process_memory_bytes",
        "kvtop_collect_duration_seconds",
        "kvtop_collect_errors_total",
    } <= names
    assert "pid" not in {label for family in parse_text(text) for sample in family.samples for label in sample.labels}
    status, kind, text = get(url, Accept="application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    families = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    assert {family.unit for family in families} >= {"bytes", "tokens", "ratio", "seconds"}
    assert text.endswith("# EOF\n")
    base = url.removesuffix("/metrics")
    assert get(f"{base}/")[0] == 200
    assert get(f"{base}/etc/passwd")[0] == 404
    assert get(url, Host="evil.example")[0] == 403
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        other = urllib.request.Request(url, data=b"x", method=method)
        with pytest.raises(urllib.error.HTTPError, match="405") as refused:
            urllib.request.urlopen(other, timeout=60)
        assert refused.value.headers["Allow"] == "GET, HEAD"
        with refused.value as answer:
            assert answer.read() == b"Method Not Allowed\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0


def test_a_client_that_says_nothing_holds_nobody_up(exporter: tuple[subprocess.Popen[str], str]) -> None:
    _, url = exporter
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    assert get(url)[0] == 200
    for connection in silent:
        connection.close()


ODD = (
    (b"GET /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.1 200"),
    (b"GET http://[::1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 404"),
    (b"GET /metrics HTTP/1.1\r\nHost: [::1\r\n\r\n", b"HTTP/1.1 403"),
    (b"GET /<script> HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 404"),
    (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"HTTP/1.1 431"),
    (b"A" * 70_000 + b"\r\n\r\n", b"HTTP/1.1 414"),
    (b"GARBAGE\r\n\r\n", b"Bad Request"),
)


def test_odd_requests_get_an_answer_and_leave_no_word(exporter: tuple[subprocess.Popen[str], str]) -> None:
    process, url = exporter
    port = int(url.rpartition(":")[2].partition("/")[0])
    for asked, answered in ODD:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(asked)
            client.shutdown(socket.SHUT_WR)
            said = client.recv(65536)
        # Of a request without a version, Python before 3.14 answers the body alone.
        assert answered in said.partition(b"\n")[0], (asked[:60], said[:60])
        assert b"<script" not in said
    for _ in range(20):  # clients that go away while they are answered
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert get(url)[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=120)[1] == ""


def test_many_connections_take_no_more_threads(exporter: tuple[subprocess.Popen[str], str]) -> None:
    process, url = exporter
    port = int(url.rpartition(":")[2].partition("/")[0])
    silent = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(200)]
    threads = re.search(r"^Threads:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text(encoding="ascii"), re.M)
    assert threads is not None
    assert int(threads[1]) < 100
    for client in silent:
        client.close()
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        try:
            assert get(url)[0] == 200
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("nobody is answered any more")


def test_a_textfile_that_can_no_longer_be_written_does_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "kvtop.prom"
    command = [*COMMAND, "--demo", "cpu_only", "--textfile", str(path), "--interval", "0.5"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ends = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < ends
        time.sleep(0.05)
    # No file may grow any more: it stands for a full disk, and root may write anywhere.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100, 100))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said == f"kvtop: {path}: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_the_textfile_is_whole_and_goes_with_the_exporter(tmp_path: Path) -> None:
    path = tmp_path / "kvtop.prom"
    command = [*COMMAND, "--demo", "mixed_host", "--textfile", str(path), "--interval", "0.5"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ends = time.monotonic() + 120
    while not path.exists() and time.monotonic() < ends:
        time.sleep(0.05)
    for _ in range(30):
        assert path.read_text(encoding="utf-8").endswith("\n")
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_device_outlives_the_exporter(tmp_path: Path) -> None:
    link, written = tmp_path / "out", tmp_path / "written"
    link.symlink_to("/proc/self/fd/1")
    command = [*COMMAND, "--demo", "nothing", "--textfile", str(link), "--interval", "0.5"]
    with written.open("wb") as output:
        process = subprocess.Popen(command, stdout=output)
        ends = time.monotonic() + 120
        while not written.read_bytes():
            assert time.monotonic() < ends
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0
    assert link.is_symlink()
    assert written.exists()


def test_bad_addresses_and_places(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "--demo", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=dict(os.environ))

    for address in ("9941", "127.0.0.1:", "127.0.0.1:99999"):
        done = run("nothing", "--listen", address)
        assert done.returncode == 2
        assert "ADDRESS:PORT" in done.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("nothing", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert done.returncode == 1
        assert "in use" in done.stderr
    done = run("nothing", "--textfile", str(tmp_path / "none" / "x.prom"))
    assert done.returncode == 1
    assert f"{tmp_path / 'none' / 'x.prom'}: cannot be written: No such file" in done.stderr
    kept = tmp_path / "kept.prom"
    kept.write_text("mine", encoding="utf-8")
    assert run("no_such_scenario", "--textfile", str(kept)).returncode == 2
    assert kept.read_text(encoding="utf-8") == "mine"
