"""A tick under one deadline, with processes and endpoints of this machine."""

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerState
from kvtop.sources.devices.device_reader import DeviceReader
from kvtop.sources.engines import engine_of_process
from kvtop.sources.poller import Poller, PollerOptions
from kvtop.sources.processes.discovery import FoundProcess, ProcessTable

PROPS = (
    b'{"default_generation_settings":{"n_ctx":4096},"total_slots":1,"model_path":"none","endpoint_slots":false,'
    b'"build_info":"b1","is_sleeping":false}'
)
SCRIPT = f"""
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/props" else 404); self.end_headers()
        self.wfile.write({PROPS!r})
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def pretender(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A process whose program is called llama-server; yields (pid, port)."""
    program = tmp_path / "llama-server"
    program.symlink_to(shutil.which(sys.executable) or sys.executable)
    process = subprocess.Popen([str(program), "-c", SCRIPT, "--api-key", "canary"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.pid, int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


async def sampled(options: PollerOptions) -> Sample:
    """One Sample without devices, and all connections closed again."""
    poller = Poller(options, DeviceReader(()))
    try:
        return await poller.sample()
    finally:
        await poller.aclose()


async def test_a_process_and_its_endpoint_are_one_server(pretender: tuple[int, int]) -> None:
    pid, port = pretender
    url = f"http://127.0.0.1:{port}"
    sample = await sampled(PollerOptions(deadline_seconds=60.0, urls=((url, None),)))
    (server,) = [it for it in sample.servers if it.id == f"127.0.0.1:{port}"]
    assert server.pids == (pid,)
    assert server.state is ServerState.READY
    assert server.slot_context_tokens == 4096
    assert server.launch is not None
    assert not server.is_remote
    (process,) = [it for it in sample.processes if it.pid == pid]
    assert process.rss_bytes
    assert process.rss_bytes > 1_000_000
    assert [listener.port for listener in process.listeners] == [port]
    assert "canary" not in repr(sample)


class SlowTable(ProcessTable):
    """A look that takes until it is told, as one does while a process is busy with its own memory map."""

    def __init__(self) -> None:
        super().__init__(lambda comm, argv: engine_of_process(comm, argv) is not None)
        self.gate = threading.Event()

    def look(self) -> tuple[FoundProcess, ...]:
        self.gate.wait(120)
        return super().look()


async def test_late_processes_are_pending_and_a_single_look_waits_for_them(pretender: tuple[int, int]) -> None:
    hasty_table, patient_table = SlowTable(), SlowTable()
    hasty = Poller(PollerOptions(deadline_seconds=0.2), DeviceReader(()), hasty_table)
    patient = Poller(PollerOptions(deadline_seconds=0.2), DeviceReader(()), patient_table)
    sample = await hasty.sample()
    assert (sample.servers, sample.pending) == ((), ("processes",))
    hasty_table.gate.set()
    asyncio.get_running_loop().call_later(0.5, patient_table.gate.set)
    sample = await patient.sample(patience_seconds=60.0)
    assert "processes" not in sample.pending
    assert any(pretender[0] in server.pids for server in sample.servers)
    await hasty.aclose()
    await patient.aclose()


async def test_a_hung_endpoint_delays_nobody(bad_server: ThreadingHTTPServer) -> None:
    bad_server.behaviour = "/hang"  # type: ignore[attr-defined]  # read by the handler
    url = f"http://127.0.0.1:{bad_server.server_port}"
    poller = Poller(PollerOptions(deadline_seconds=0.3, urls=((url, None),), discover=False), DeviceReader(()))
    for _ in range(2):
        started = time.monotonic()
        sample = await poller.sample()
        assert time.monotonic() - started < 20  # it hangs for a minute
        assert sample.pending == (url,)
        (server,) = sample.servers
        assert server.state is ServerState.UNKNOWN
        assert server.is_remote
    ends = time.monotonic() + 30
    while server.state is ServerState.UNKNOWN and time.monotonic() < ends:
        await asyncio.sleep(0.1)
        (server,) = (await poller.sample()).servers
    assert server.state is ServerState.UNREACHABLE
    await poller.aclose()


async def test_a_dead_endpoint_is_a_state_with_its_reason(dead_address: str) -> None:
    options = PollerOptions(deadline_seconds=60.0, urls=((f"http://{dead_address}", None),), discover=False)
    sample = await sampled(options)
    (server,) = sample.servers
    assert server.state is ServerState.UNREACHABLE
    assert "connection refused" in server.hint


async def test_an_empty_host_is_an_answer() -> None:
    sample = await sampled(PollerOptions(discover=False))
    assert sample.servers == ()
    assert sample.taken_at > 1_700_000_000
