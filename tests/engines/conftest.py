"""Real engines, started on loopback and stopped again. Everything here needs `make test-engines`."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("KVTOP_ENGINES", Path.home() / ".cache" / "kvtop"))
SERVER = CACHE / "llama.cpp-b11434" / "bin" / "llama-server"
MODEL = CACHE / "models" / "gemma-3-270m-q4_k_m.gguf"
_BUFFER = re.compile(r"(\S+)\s+(model|KV|compute|output|RS) buffer size\s*=\s*([\d.]+) MiB")


@dataclass(frozen=True)
class LlamaServer:
    """A running llama-server: its pid, its endpoint and the file it logs to."""

    pid: int
    url: str
    log: Path

    def complete(self, prompt: str, tokens: int) -> None:
        """Send a request and wait for the answer."""
        body = json.dumps({"prompt": prompt, "n_predict": tokens, "ignore_eos": True}).encode()
        request = urllib.request.Request(f"{self.url}/completion", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as reply:
            reply.read()

    def logged_mib(self, kind: str) -> float:
        """What the engine itself logged for its last context: the sum of "model", "KV", "compute" … buffers, in MiB."""
        buffers: dict[tuple[str, int], float] = {}
        text = self.log.read_text(encoding="utf-8", errors="replace")
        # `--fit` measures a projected context first; the real one follows the last "load_tensors".
        for number, match in enumerate(_BUFFER.finditer(text)):
            if match[2] == kind:
                buffers[match[1], number] = float(match[3])
        return sum(buffers.values())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + 600
    while time.monotonic() < ends:
        if process.poll() is not None:
            pytest.fail(f"llama-server left with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=30) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"llama-server was not ready in time: {log.read_text()[-2000:]}")


@pytest.fixture
def llama_server(tmp_path: Path) -> Iterator[Callable[..., LlamaServer]]:
    """A function that starts the real llama-server with the real model and these extra options."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str, environ: dict[str, str] | None = None, verbose: bool = False) -> LlamaServer:
        port = _free_port()
        log = tmp_path / f"server-{port}.log"
        command = [str(SERVER), "-m", str(MODEL), "--host", "127.0.0.1", "--port", str(port), "-t", "2", *options]
        if verbose:
            command += ["-lv", "4"]
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, **(environ or {})}
            )
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, log)
        return LlamaServer(process.pid, url, log)

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=120)
