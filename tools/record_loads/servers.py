"""The servers that shapes run on: real engines with small caches, started on loopback and stopped again.

They work a few milliseconds of every tenth of a second, so that tokens come as slowly as from a real model, and a
shape costs little CPU.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.engines.install import BINARIES, CACHE
from tests.engines.install_vllm import models_of, program_of
from tools.record_loads.clients import LLAMA, VLLM, Dialect
from tools.record_loads.tiny_model import write_small_gguf

_VLLM_ENVIRONMENT = {
    "VLLM_CPU_CI_ENV": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


PERIOD_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Server:
    """One way to start an engine. `options` decide the cache; `cells` and `is_unified` follow for llama.cpp."""

    name: str
    engine: str
    version: str
    dialect: Dialect
    options: tuple[str, ...]
    works_seconds: float
    """Of every `PERIOD_SECONDS`; the rest it stands still."""
    cells: int | None = None
    is_unified: bool = False

    def command(self, port: int) -> list[str]:
        """The whole command line."""
        if self.engine == "llama.cpp":
            model = CACHE / "models" / "small-noise.gguf"
            if not model.exists():
                write_small_gguf(model)
            program = [str(BINARIES / "llama-server"), "-m", str(model), "-t", "1"]
        else:
            program = [str(program_of(CACHE)), "serve", str(models_of(CACHE) / "tiny-llama")]
            program += ["--served-model-name", "tiny"]
        return [*program, "--host", "127.0.0.1", "--port", str(port), *self.options]


SERVERS = {
    server.name: server
    for server in (
        Server("unified", "llama.cpp", "b11434", LLAMA, ("-c", "4096", "--metrics"), 0.007, 4096, is_unified=True),
        Server("slots", "llama.cpp", "b11434", LLAMA, ("-c", "8192", "-np", "4", "--metrics"), 0.007, 8192),
        Server(
            "pool",
            "vllm",
            "0.32.0",
            VLLM,
            (
                *("--max-model-len", "8192", "--max-num-seqs", "8", "--enforce-eager"),
                *("--kv-cache-memory-bytes", str(24 * 2**20)),
            ),
            0.018,
        ),
    )
}


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(server: Server, port: int, log: Path) -> Iterator[None]:
    """The server, from when it answers to when it has left. Raises SystemExit with the end of its log."""
    environ = {**os.environ, **(_VLLM_ENVIRONMENT if server.engine == "vllm" else {})}
    with log.open("wb") as sink:
        process = subprocess.Popen(["nice", *server.command(port)], stdout=sink, stderr=sink, env=environ)
    try:
        ends = time.monotonic() + 900
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"{server.name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.5)
        is_over = threading.Event()
        braking = threading.Thread(target=_hold_back, args=(process.pid, server, is_over), daemon=True)
        braking.start()
        try:
            yield
        finally:
            is_over.set()
            braking.join()
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _hold_back(pid: int, server: Server, is_over: threading.Event) -> None:
    """Let the processes that compute work a part of the time. vLLM's API server computes nothing and goes on."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    computing = [it for it in family if server.engine != "vllm" or "".join(it.cmdline()).startswith("VLLM::")]
    while not is_over.is_set():
        for process in computing:
            process.send_signal(signal.SIGSTOP)
        is_over.wait(PERIOD_SECONDS - server.works_seconds)
        for process in computing:
            process.send_signal(signal.SIGCONT)
        time.sleep(server.works_seconds)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
