"""`kvtop doctor` from the command line: its exit codes, its JSON, and a server in a network of its own."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kvtop.domain.device import Device, DeviceMemory
from kvtop.domain.driver import HOST_DRIVER
from kvtop.domain.sample import Failure
from kvtop.sources.devices.amdgpu import AMDGPU
from kvtop.sources.devices.makers import accelerator_makers, unseen_makers, without_missing_makers
from kvtop.sources.devices.nvml import NVML
from tests.sources.network_lab import NetworkLab, network_lab

ROOT = Path(__file__).resolve().parents[1]
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
PROPS = b'{"default_generation_settings":{"n_ctx":64},"total_slots":1,"endpoint_slots":false,"build_info":"b1"}'
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/props" else 404)
        self.end_headers()
        self.wfile.write(PROPS)
    def log_message(self, *_): pass
server = HTTPServer((sys.argv[2], 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def doctor(*arguments: str, config: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    if config is not None:
        environ["KVTOP_CONFIG"] = str(config)
    command = [sys.executable, "-m", "kvtop", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environ)


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    """A configuration that looks at no process: others may run on this machine."""
    file = tmp_path / "config.toml"
    file.write_text("discover = false\n")
    return file


@contextmanager
def pretender(lab: NetworkLab, tmp_path: Path, address: str) -> Iterator[tuple[int, int]]:
    """(pid, port) of a process called llama-server in another network namespace, listening on `address`."""
    program = tmp_path / "llama-server"
    program.symlink_to(shutil.which(sys.executable) or sys.executable)
    command = lab.command(str(program), "-c", SERVER, "-m", address)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()
        program.unlink()


def endpoint_of(document: dict[str, Any], pid: int, port: int) -> dict[str, Any]:
    """Of all endpoints the one of this server."""
    names = {f"pid {pid}"} | {it["subject"] for it in document["probes"] if it["subject"].endswith(f":{port}")}
    (found,) = [it for it in document["probes"] if it["area"] == "endpoints" and it["subject"] in names]
    value: dict[str, Any] = found
    return value


def test_a_demo_is_well() -> None:
    done = doctor("--demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("kvtop ")
    assert done.stdout.endswith("all well: 1 server\n")


def test_an_endpoint_that_is_not_there_fails(quiet: Path, dead_address: str) -> None:
    url = f"http://{dead_address}"
    done = doctor("--url", url, config=quiet)
    for _ in range(5):  # a machine with much to do may not come to asking in time, and says so
        if "has not been asked yet" not in done.stderr:
            break
        done = doctor("--url", url, config=quiet)
    assert done.returncode == 1
    assert "connection refused" in done.stdout
    assert f"do: see whether {url} is right and the server is up" in done.stdout
    as_json = doctor("--url", url, "--json", config=quiet)
    document = json.loads(as_json.stdout)
    assert (as_json.returncode, document["exit_code"], document["schema"]) == (1, 1, "kvtop.doctor/1")
    assert {"area", "subject", "outcome", "answer", "remedy"} == set(document["probes"][0])


def test_nothing_to_watch_has_a_code_of_its_own(quiet: Path) -> None:
    done = doctor(config=quiet)
    card_without_driver = "FAILED nvml" in done.stdout
    assert done.returncode == (1 if card_without_driver else 3)
    assert "switched off in the configuration" in done.stdout


def test_bad_usage(tmp_path: Path) -> None:
    assert doctor("--url", "ftp://x").returncode == 2
    assert doctor("--config", str(tmp_path / "none.toml")).returncode == 2


def test_a_server_in_another_network_is_asked_at_its_own_address(tmp_path: Path) -> None:
    with network_lab() as lab, pretender(lab, tmp_path, "0.0.0.0") as (pid, port):
        document = json.loads(doctor("--json").stdout)
        found = endpoint_of(document, pid, port)
        assert found["subject"] == f"{lab.inside}:{port}"
        assert (found["outcome"], found["answer"]) == ("ok", "llama.cpp b1: ready")
        (process,) = [it for it in document["probes"] if it["subject"] == f"pid {pid}"]
        assert f"own network ({lab.inside})" in process["answer"]


def test_loopback_in_another_network_cannot_be_asked_and_says_so(tmp_path: Path) -> None:
    with network_lab() as lab, pretender(lab, tmp_path, "127.0.0.1") as (pid, port):
        time.sleep(0.1)
        found = endpoint_of(json.loads(doctor("--json").stdout), pid, port)
        assert found["subject"] == f"pid {pid}"
        assert found["outcome"] == "failed"
        assert f"127.0.0.1:{port} inside its own network namespace only" in found["answer"]


def test_whose_cards_are_on_the_buses(tmp_path: Path) -> None:
    assert accelerator_makers(tmp_path) is None
    for slot, kind, vendor in (("0", "0x030000", "0x1002"), ("1", "0x120000", "0x8086"), ("2", "0x020000", "0x10de")):
        home = tmp_path / "sys/bus/pci/devices" / slot
        home.mkdir(parents=True)
        (home / "class").write_text(f"{kind}\n")
        (home / "vendor").write_text(f"{vendor}\n")
    (tmp_path / "sys/bus/pci/devices/3").mkdir()
    assert accelerator_makers(tmp_path) == frozenset({"AMD", "Intel"})
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/dxg").touch()
    assert accelerator_makers(tmp_path) == frozenset({"AMD", "Intel", "NVIDIA"})
    seen = Device("gpu0", "card", NVML, DeviceMemory(), (), 0.0)
    assert unseen_makers(frozenset({"AMD", "NVIDIA"}), (seen,)) == ("AMD",)
    assert unseen_makers(frozenset({"AMD", "NVIDIA"}), ()) == ("AMD", "NVIDIA")
    assert unseen_makers(None, ()) == ()


@pytest.mark.parametrize(
    ("makers", "devices", "kept"),
    [
        (frozenset({"AMD"}), ("gpu0", "host"), False),
        (frozenset({"AMD", "NVIDIA"}), ("gpu0", "host"), True),
        (frozenset({"AMD"}), ("host",), True),
        (None, ("gpu0", "host"), True),
    ],
)
def test_another_makers_driver_is_not_missed_beside_a_card(
    makers: frozenset[str] | None, devices: tuple[str, ...], kept: bool
) -> None:
    shown = [Device(it, it, AMDGPU if it != "host" else HOST_DRIVER, DeviceMemory(), (), 0.0) for it in devices]
    absent = Failure("nvml", "no NVIDIA driver library (libnvidia-ml.so.1) on this machine (NVML error 12)")
    broken = Failure("nvml", "the NVIDIA library was updated but the loaded kernel module was not (NVML error 18)")
    assert without_missing_makers((absent, broken), shown, makers) == ((absent, broken) if kept else (broken,))
