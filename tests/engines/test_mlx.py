"""The real mlx_lm.server on loopback, alone and under `kvtop wrap`: what kvtop says beside what the server says."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engines.conftest import CACHE
from tests.engines.install_mlx import home_of, mlx_model_of

ROOT = Path(__file__).resolve().parents[2]
PYTHON = home_of(CACHE) / "bin" / "python"
SERVER = home_of(CACHE) / "bin" / "mlx_lm.server"
MODEL = mlx_model_of(CACHE)
START_SECONDS = 600
PROMPT_TOKENS = 1000
SLACK_BYTES = 4096
"""What MLX holds besides weights and caches: 1.0 to 1.1 KB were seen."""

pytestmark = pytest.mark.engines


@dataclass(frozen=True)
class Mlx:
    """A running mlx_lm.server."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def said(self) -> str:
        """Everything it logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def sequences(self) -> int:
        """How many finished sequences it kept when the last request began, in its own log."""
        return int(re.findall(r"Prompt Cache: (\d+) sequences", self.said())[-1])

    def complete(self, seed: int) -> None:
        """A request with a prompt of 1000 tokens that no other begins like, of which the model reads single bytes."""
        letters = random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz", k=PROMPT_TOKENS)
        body = json.dumps({"prompt": "".join(letters), "max_tokens": 4, "temperature": 0}).encode()
        url = f"http://127.0.0.1:{self.port}/v1/completions"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as reply:
            usage = json.load(reply)["usage"]
        assert usage["prompt_tokens"] == PROMPT_TOKENS
        assert usage["prompt_tokens_details"]["cached_tokens"] == 0

    def snapshot(self) -> dict[str, Any]:
        """What kvtop says of it, after the reporter has had time to write."""
        began = time.time()
        time.sleep(2.2)
        # It writes each second what has changed, and every five seconds anyway; later on a busy machine.
        reports = list(self.log.parent.glob("run/kvtop/mlx-*.json"))
        while reports and max(it.stat().st_mtime for it in reports) < began and time.time() < began + 120:
            time.sleep(0.2)
        (found,) = [it for it in kvtop_json("snapshot", "--json")["servers"] if self.process.pid in it["pids"]]
        value: dict[str, Any] = found
        return value


def kvtop_json(*arguments: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    command = [sys.executable, "-m", "kvtop", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=True, env={**os.environ, **(environ or {})}
    )
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def environment(home: Path) -> dict[str, str]:
    run = home / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    paths = {"XDG_RUNTIME_DIR": str(run), "HF_HOME": str(home / "hf"), "PYTHONPATH": str(ROOT)}
    return {**os.environ, "HF_HUB_OFFLINE": "1", **paths}


def wrapped(*words: str) -> list[str]:
    return [sys.executable, "-m", "kvtop", "wrap", "--", *words]


@pytest.fixture
def mlx_server(tmp_path: Path) -> Iterator[Callable[..., Mlx]]:
    """A function that starts these words with a free port and waits until the server answers."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> Mlx:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        log = tmp_path / f"mlx-{port}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [*words, "--port", str(port)], stdout=sink, stderr=sink, env=environment(tmp_path), cwd=MODEL.parent
            )
        started.append(process)
        server = Mlx(process, port, log)
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            if process.poll() is not None:
                pytest.fail(f"mlx_lm.server left with {process.returncode}: {server.said()[-2000:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30):
                    return server
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        pytest.fail(f"mlx_lm.server did not answer: {server.said()[-2000:]}")

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=120)


def segments(found: dict[str, Any]) -> dict[str, Any]:
    (memory,) = found["memory"]
    value: dict[str, Any] = memory["segments"]
    parts = [part["bytes"] for part in value.values()]
    assert sum(part or 0 for part in parts) == memory["driver_bytes"]
    return value


def weights_bytes() -> int:
    index = json.loads((MODEL / "model.safetensors.index.json").read_text(encoding="utf-8"))
    return int(index["metadata"]["total_size"])


def planned_bytes(*options: str) -> int:
    """The cache of one such sequence, by `kvtop plan`: 1000 tokens of prompt and 4 generated."""
    words = ["plan", "--json", "--at", str(PROMPT_TOKENS + 4), "--", "mlx_lm.server", "--model", str(MODEL), *options]
    (device,) = kvtop_json(*words)["devices"]
    return int(device["kv_cache_bytes"])


def test_alone_its_cache_is_a_range_and_only_its_health_is_asked(mlx_server: Callable[..., Mlx]) -> None:
    server = mlx_server(str(SERVER), "--model", MODEL.name)  # a relative path: the server's own directory counts
    server.complete(1)
    found = server.snapshot()
    assert (found["engine"], found["state"]) == ("mlx", "ready")
    assert "kvtop wrap" in found["hint"]
    parts = segments(found)
    assert (parts["weights"]["bytes"], parts["weights"]["basis"]) == (weights_bytes(), "computed")
    cache = parts["kv_cache"]
    assert (cache["bytes"], cache["basis"], cache["low_bytes"]) == (None, "unknown", 0)
    # The truth, as the wrapped server reports it below: this sequence, and the copy that an idle batch keeps.
    assert cache["high_bytes"] >= 2 * planned_bytes()
    assert found["kv_cache"]["bytes_per_token"] == 16384
    asked = re.findall(r'"(GET \S+)', server.said())
    assert set(asked) == {"GET /health"}


def test_wrapped_its_cache_grows_as_planned(mlx_server: Callable[..., Mlx], tmp_path: Path) -> None:
    server = mlx_server(*wrapped(str(SERVER), "--model", str(MODEL)))
    empty = segments(server.snapshot())["kv_cache"]
    assert empty["basis"] == "reported"
    assert 0 <= empty["bytes"] < SLACK_BYTES
    held = []
    for count in (1, 2, 3):
        server.complete(count)
        found = server.snapshot()
        assert server.sequences() == count - 1
        held.append(segments(found)["kv_cache"]["bytes"])
        assert abs(held[-1] - (count + 1) * planned_bytes()) < SLACK_BYTES
    assert abs(held[2] - held[1] - planned_bytes()) < 64
    assert found["version"] == "0.32.2"
    assert found["hint"] == ""
    (report,) = (tmp_path / "run/kvtop").iterdir()
    assert report.name == f"mlx-{server.process.pid}.json"


def test_wrapped_with_a_quantized_cache(mlx_server: Callable[..., Mlx]) -> None:
    options = ("--kv-bits", "8", "--quantized-kv-start", "0")
    server = mlx_server(*wrapped(str(PYTHON), "-m", "mlx_lm", "server", "--model", str(MODEL), *options))
    assert planned_bytes(*options) == 8_912_896
    held = []
    for count in (1, 2, 3):
        server.complete(count)
        held.append(segments(server.snapshot())["kv_cache"]["bytes"])
    assert abs(held[2] - held[1] - 8_912_896) < 64
    assert abs(held[1] - held[0] - 8_912_896) < 64


def test_an_endpoint_alone_is_recognised_without_asking_for_its_models(
    mlx_server: Callable[..., Mlx], tmp_path: Path
) -> None:
    server = mlx_server(str(SERVER), "--model", str(MODEL))
    (tmp_path / "config.toml").write_text("discover = false\n")
    url = f"http://127.0.0.1:{server.port}"
    environ = {"KVTOP_CONFIG": str(tmp_path / "config.toml")}
    (found,) = kvtop_json("snapshot", "--json", "--url", url, environ=environ)["servers"]
    assert (found["engine"], found["state"], found["is_remote"]) == ("mlx", "ready", True)
    assert found["memory"] == []
    assert set(re.findall(r'"GET (\S+)', server.said())) <= {"/health", "/props"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_as_they_do_alone(mlx_server: Callable[..., Mlx], number: signal.Signals) -> None:
    def code_of(words: list[str]) -> int:
        server = mlx_server(*words, "--model", str(MODEL))
        time.sleep(1)
        server.process.send_signal(number)
        return server.process.wait(timeout=120)

    # Alone it leaves with 0, and now and then aborts on the way: any code that it has alone will do.
    expected = code_of(wrapped(str(SERVER)))
    assert any(code_of([str(SERVER)]) == expected for _ in range(4))


@pytest.mark.parametrize(
    "options", [["--prompt-cache-bytes", "1GiB"], ["--no-such-option"], ["--help"], ["--port", "x"]]
)
def test_what_it_refuses_it_refuses_in_its_own_words(tmp_path: Path, options: list[str]) -> None:
    done = [
        subprocess.run(
            [*words, *options], capture_output=True, text=True, timeout=240, check=False, env=environment(tmp_path)
        )
        for words in ([str(SERVER)], wrapped(str(SERVER)))
    ]
    assert done[0].returncode == done[1].returncode
    assert done[0].stdout == done[1].stdout
    assert done[0].stderr.splitlines()[-1:] == done[1].stderr.splitlines()[-1:]
    assert list((tmp_path / "run/kvtop").iterdir()) == []
