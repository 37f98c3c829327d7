"""A real vLLM on loopback: what kvtop reads of it, beside what vLLM itself logs."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.engine_report import PoolReport
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.engines import unidentified, vllm
from kvtop.sources.poller import PollerOptions, take_sample
from tests.engines.conftest import CACHE
from tests.engines.install_vllm import models_of, program_of

START_SECONDS = 900
ANSWER_SECONDS = 120
KEY = "canary-77ab"
SMALL = ("--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager")
ENVIRONMENT = {
    "VLLM_CPU_CI_ENV": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOG_STATS_INTERVAL": "1",
}
_POOL = re.compile(r"KV cache size: ([\d,]+) tokens, Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")
_STATS = re.compile(r"Running: (\d+) reqs, Waiting: (\d+) reqs,.*?KV cache usage: ([\d.]+)%")
_REQUEST = re.compile(r'"(\w+) (/\S*) HTTP')

pytestmark = pytest.mark.engines


@dataclass(frozen=True)
class Vllm:
    """A running `vllm serve`, and what kvtop said of it while it started."""

    pid: int
    port: int
    log: Path
    while_starting: list[ServerState] = field(default_factory=list)

    def text(self) -> str:
        """Everything logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def logged_pool(self) -> tuple[int, int, float]:
        """(tokens, longest sequence, concurrency) as the engine logged them."""
        (found,) = set(_POOL.findall(self.text()))
        return int(found[0].replace(",", "")), int(found[1].replace(",", "")), float(found[2])

    def sample(self, key: str | None = KEY) -> Sample:
        """What kvtop sees now."""
        return take_sample(PollerOptions(api_key=key))

    def reading(self, key: str | None = KEY) -> ServerReading:
        """Its reading alone."""
        return self.find(self.answered(key))

    def answered(self, key: str | None = KEY) -> Sample:
        """A sample in which it has answered: on a busy machine a look may pass its deadline, and then says so."""
        ends = time.monotonic() + ANSWER_SECONDS
        while True:
            sample = self.sample(key)
            found = [it for it in sample.servers if self.pid in it.pids]
            if found and not _is_late(sample, found[0]):
                return sample
            assert sample.pending or found, "a look without it named nothing that is late"
            assert time.monotonic() < ends, (sample.pending, found)

    def find(self, sample: Sample) -> ServerReading:
        """Its reading in that sample."""
        (found,) = [it for it in sample.servers if self.pid in it.pids]
        return found


def _is_late(sample: Sample, reading: ServerReading) -> bool:
    """Whether it did not answer in time: the machine was busy."""
    return reading.url in sample.pending or "no answer within" in reading.hint


class Request(threading.Thread):
    """A request for 1,400 tokens, which may be abandoned: then the engine drops it."""

    def __init__(self, server: Vllm, number: int) -> None:
        super().__init__(daemon=True)
        body = {"model": "tiny", "prompt": f"{number} the sea was calm", "max_tokens": 1400, "ignore_eos": True}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
        self._connection.request("POST", "/v1/completions", json.dumps(body).encode(), headers)
        self.start()

    def run(self) -> None:
        """Wait for the answer."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._connection.getresponse().read()

    def abandon(self) -> None:
        """Close the connection, which the server notices."""
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(10)
        self._connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _started(directory: Path, *options: str, model: str = "tiny-llama") -> Iterator[Vllm]:
    port, log = _free_port(), directory / "vllm.log"
    command = [str(program_of(CACHE)), "serve", str(models_of(CACHE) / model), "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--api-key", KEY, *SMALL, *options]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
    server = Vllm(process.pid, port, log)
    try:
        ends = time.monotonic() + START_SECONDS
        while not server.while_starting or server.while_starting[-1] is not ServerState.READY:
            if process.poll() is not None or time.monotonic() > ends:
                pytest.fail(f"vLLM did not start ({process.poll()}): {server.text()[-3000:]}")
            time.sleep(1)
            sample = server.sample()
            found = [it for it in sample.servers if server.pid in it.pids and not _is_late(sample, it)]
            server.while_starting.extend(it.state for it in found)
        yield server
        _assert_discreet(server)
    finally:
        process.terminate()
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _assert_discreet(server: Vllm) -> None:
    """Nothing but named paths was asked, and the key is nowhere in what is shown."""
    command = [sys.executable, "-m", "kvtop", "snapshot", "--json"]
    environ = {**os.environ, "KVTOP_API_KEY": KEY}
    done = subprocess.run(command, env=environ, check=True, timeout=240, capture_output=True, text=True)
    assert f'"127.0.0.1:{server.port}"' in done.stdout
    assert KEY not in done.stdout + done.stderr + repr(server.sample())
    named = {("GET", path) for path in (*vllm.PATHS, *unidentified.PATHS)}
    asked = set(_REQUEST.findall(server.text()))
    assert asked <= named | {("POST", "/v1/completions")}
    assert ("GET", "/metrics") in asked


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """One engine with a pool of 8 MiB: 64 blocks of 128 tokens."""
    yield from _started(tmp_path_factory.mktemp("vllm"), "--kv-cache-memory-bytes", str(8 * 2**20))


@pytest.fixture
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """Tensor parallel over two ranks, 8-bit cache, 2 MiB a rank."""
    options = ("--tensor-parallel-size", "2", "--kv-cache-dtype", "fp8", "--kv-cache-memory-bytes", str(2 * 2**20))
    yield from _started(tmp_path_factory.mktemp("vllm"), *options)


@pytest.fixture
def two_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """Two data-parallel engines of a model with sliding windows, a pool of 8 MiB each."""
    options = ("--data-parallel-size", "2", "--kv-cache-memory-bytes", str(8 * 2**20))
    yield from _started(tmp_path_factory.mktemp("vllm"), *options, model="tiny-gemma3")


def test_two_ranks_are_one_server(two_ranks: Vllm) -> None:
    reading = two_ranks.reading()
    workers = [rank.tensor_parallel_index for rank in reading.ranks if rank.role == "worker"]
    assert workers == [0, 1]
    (pool,) = reading.pools
    assert (pool.capacity_tokens, pool.cache_type) == (two_ranks.logged_pool()[0], "fp8")
    assert pool.block_count is not None
    # A rank holds one of the two heads, at one byte a value: 32 KiB a block of 128 tokens.
    assert pool.block_count * 128 * 2 * 2 * 64 == 2 * 2**20


def test_each_engine_has_its_own_pool(two_engines: Vllm) -> None:
    """vLLM shows the sum of blocks on each engine; a pool of several groups of layers holds fewer tokens than cells."""
    reading = two_engines.reading()
    tokens, _, concurrency = two_engines.logged_pool()
    assert [pool.engine_index for pool in reading.pools] == [0, 1]
    for pool in reading.pools:
        assert (pool.capacity_tokens, pool.block_size_tokens) == (tokens, 128)
        assert pool.max_concurrency == pytest.approx(concurrency, abs=0.005)
        # A block is 128 tokens of one layer: six groups of one layer each share the pool.
        assert pool.block_count == 8 * 2**20 // (128 * 2 * 2 * 64 * 2)
        assert tokens < pool.block_count * 128
    engines = [rank.data_parallel_index for rank in reading.ranks if rank.role == "engine core"]
    workers = [rank.data_parallel_index for rank in reading.ranks if rank.role == "worker"]
    assert (engines, sorted(workers, key=str)) == ([0, 1], [0, 1])


def test_until_it_listens_it_is_loading(server: Vllm) -> None:
    assert server.while_starting[0] is ServerState.LOADING
    assert set(server.while_starting) == {ServerState.LOADING, ServerState.READY}


def test_the_pool_is_what_the_engine_logged(server: Vllm) -> None:
    reading = server.reading()
    tokens, longest, concurrency = server.logged_pool()
    (pool,) = reading.pools
    assert (pool.capacity_tokens, reading.sequence_limit_tokens) == (tokens, longest)
    assert pool.max_concurrency == pytest.approx(concurrency, abs=0.005)
    assert pool.block_count is not None
    assert pool.block_size_tokens is not None
    assert pool.block_count * pool.block_size_tokens == tokens
    # Two layers, K and V, two heads of 64, two bytes: the blocks fill the 8 MiB that it was given.
    assert pool.block_count * pool.block_size_tokens * 2 * 2 * 2 * 64 * 2 == pool.budget_bytes == 8 * 2**20
    assert pool.used_ratio == 0
    assert (reading.version, reading.model.path) == ("0.32.0", str(models_of(CACHE) / "tiny-llama"))


def test_one_server_of_several_processes(server: Vllm) -> None:
    sample = server.answered()
    reading = server.find(sample)
    assert [(rank.role, rank.pid == server.pid) for rank in reading.ranks] == [
        ("api server", True),
        ("engine core", False),
        ("worker", False),
    ]
    resident = {process.pid: process.rss_bytes for process in sample.processes}
    assert all(resident[pid] for pid in reading.pids)


@contextlib.contextmanager
def _held_still(pids: list[int]) -> Iterator[None]:
    """The processes stopped for a moment, so that two observers see the same."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_busy_pool_is_as_full_as_the_engine_logs(server: Vllm) -> None:
    """The API server goes on logging the last state of an engine that is held still in the middle of its work."""
    with contextlib.ExitStack() as stack:
        pool, lines = _held_in_the_middle(server, stack)
    assert lines, "no statistics were logged"
    running, waiting, percent = lines[-1]
    assert (pool.requests_running, pool.requests_waiting) == (float(running), float(waiting))
    assert pool.used_ratio is not None
    assert pool.used_ratio == pytest.approx(float(percent) / 100, abs=0.0005), "the log rounds to 0.1 %"
    assert pool.used_ratio > 0.3
    ends = time.monotonic() + 120
    (idle,) = server.reading().pools
    while (idle.used_ratio, idle.requests_running, idle.requests_waiting) != (0, 0, 0):
        assert time.monotonic() < ends, idle
        (idle,) = server.reading().pools


def _held_in_the_middle(server: Vllm, stack: contextlib.ExitStack) -> tuple[PoolReport, list[tuple[str, str, str]]]:
    """The pool as kvtop reads it, and the statistics that the engine logs, of one full moment.

    A busy machine may look too late at one round of requests: then there is another.
    """
    ends, number, requests = time.monotonic() + 300, 0, list[Request]()
    reading = server.reading()
    while (reading.counters.requests_waiting or 0) < 1 or (reading.pools[0].used_ratio or 0) < 0.4:
        assert time.monotonic() < ends, "it was never full"
        if not any(request.is_alive() for request in requests):
            requests = [Request(server, number + each) for each in range(40)]
            number += len(requests)
            for request in requests:
                stack.callback(request.abandon)
        reading = server.reading()
    with _held_still([rank.pid for rank in reading.ranks if rank.role != "api server"]):
        before = len(server.text())
        time.sleep(3.5)  # it logs every second for as long as there was anything to log since the last line
        ends = time.monotonic() + 60
        while not (lines := _STATS.findall(server.text()[before:])) and time.monotonic() < ends:
            time.sleep(0.5)
        (pool,) = server.reading().pools
    return pool, lines


def test_without_its_key_the_pool_is_still_read(server: Vllm) -> None:
    reading = server.reading(key=None)
    assert reading.state is ServerState.READY
    assert "KVTOP_API_KEY" in reading.hint
    assert reading.pools[0].capacity_tokens == server.logged_pool()[0]


def test_a_url_alone_is_enough(server: Vllm) -> None:
    urls = ((f"http://127.0.0.1:{server.port}", None),)
    ends = time.monotonic() + ANSWER_SECONDS
    sample = take_sample(PollerOptions(urls=urls, discover=False))
    while _is_late(sample, sample.servers[0]) and time.monotonic() < ends:
        sample = take_sample(PollerOptions(urls=urls, discover=False))
    (reading,) = sample.servers
    assert (reading.engine, reading.is_remote) == ("vllm", True)
    assert reading.pools[0].capacity_tokens == server.logged_pool()[0]


def test_weights_and_pool_are_explained_to_the_byte(server: Vllm) -> None:
    """Against the budget that vLLM was given whole blocks of, and the tensors of its checkpoint."""
    sample = server.answered()
    (view,) = [it for it in analyse(History(), sample, "1").servers if server.pid in it.reading.pids]
    (split,) = view.splits
    checkpoint = sample.models[str(models_of(CACHE) / "tiny-llama")]
    assert isinstance(checkpoint, Checkpoint)
    assert split.memory[Segment.KV_CACHE].value_bytes == 8 * 2**20
    assert checkpoint.tensor_bytes is not None
    # vLLM pads the 258 words of embedding and head to 320 (DEFAULT_VOCAB_PADDING_SIZE 64): 256 values of two bytes.
    padding_bytes = 2 * (320 - 258) * 256 * 2
    assert split.memory[Segment.WEIGHTS].value_bytes == checkpoint.tensor_bytes + padding_bytes
    assert view.disagreements == ()
    assert sum(figure.value_bytes or 0 for _, figure in split.memory.parts) == split.driver.value_bytes
