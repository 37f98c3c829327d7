"""`kvtop exporter`: what it serves, to whom, and what it leaves behind."""

import os
import re
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
        return error.code, error.headers["Content-Type"], error.read().decode()


def test_both_formats_and_nothing_else(exporter: tuple[subprocess.Popen[str], str]) -> None:
    process, url = exporter
    status, kind, text = get(url)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    names = {sample.name for family in parse_text(text) for sample in family.samples}
    assert {"kvtop_process_memory_bytes", "kvtop_collect_duration_seconds", "kvtop_collect_errors_total"} <= names
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
    post = urllib.request.Request(url, data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(post, timeout=60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0


def test_a_client_that_says_nothing_holds_nobody_up(exporter: tuple[subprocess.Popen[str], str]) -> None:
    _, url = exporter
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    assert get(url)[0] == 200
    for connection in silent:
        connection.close()


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
        ends = time.monotonic() + 20
        while not written.read_bytes() and time.monotonic() < ends:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
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
