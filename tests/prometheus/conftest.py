"""A real Prometheus, targets for it, and a kvtop exporter. Skips with a reason where Prometheus is not installed."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Prometheus:
    """A running server and its address."""

    url: str

    def api(self, path: str, **parameters: str) -> Any:  # noqa: ANN401  JSON
        """The `data` of an answer."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=60) as answer:
            document = json.load(answer)
        assert document["status"] == "success"
        return document["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector of an instant query."""
        result: list[dict[str, Any]] = self.api("query", query=expression)["result"]
        return result

    def wait_for(self, expression: str, count: int = 1) -> list[dict[str, Any]]:
        """The vector, once it has so many elements."""
        ends = time.monotonic() + 180
        while time.monotonic() < ends:
            found = self.query(expression)
            if len(found) >= count:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{expression} has not {count} elements after 180 s: {self.api('targets')}")


StartPrometheus = Callable[..., Prometheus]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[StartPrometheus]:
    """`start_prometheus({"kvtop": ["127.0.0.1:1234"]}, rules=[path])`: jobs with their targets, scraped each second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian package prometheus)")
    running: list[subprocess.Popen[bytes]] = []

    def start(
        jobs: dict[str, list[str]], rules: tuple[Path, ...] = (), paths: dict[str, str] | None = None
    ) -> Prometheus:
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rule) for rule in rules],
            "scrape_configs": [
                {
                    "job_name": job,
                    "honor_labels": True,
                    "metrics_path": (paths or {}).get(job, "/metrics"),
                    "static_configs": [{"targets": targets}],
                }
                for job, targets in jobs.items()
            ],
        }
        file = tmp_path / "prometheus.yml"  # JSON is YAML
        file.write_text(json.dumps(config), encoding="utf-8")
        ends = time.monotonic() + 180
        while time.monotonic() < ends:
            port = free_port()
            process = subprocess.Popen(
                [
                    program,
                    f"--config.file={file}",
                    f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            running.append(process)
            url = f"http://127.0.0.1:{port}"
            # It ends where somebody else took the port meanwhile: then once more with another.
            while process.poll() is None and time.monotonic() < ends:
                try:
                    with urllib.request.urlopen(f"{url}/-/ready", timeout=60):
                        return Prometheus(url)
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.1)
        raise AssertionError("prometheus is not ready after 180 s")

    yield start
    for process in running:
        process.terminate()
        process.wait(timeout=120)


@pytest.fixture
def start_exporter() -> Iterator[Callable[[str], str]]:
    """`start_exporter(scenario)`: HOST:PORT of a kvtop exporter."""
    running: list[subprocess.Popen[str]] = []

    def start(scenario: str) -> str:
        command = [sys.executable, "-m", "kvtop", "exporter", "--demo", scenario, "--listen", "127.0.0.1:0"]
        process = subprocess.Popen([*command, "--interval", "0.5"], stderr=subprocess.PIPE, text=True, cwd=ROOT)
        running.append(process)
        assert process.stderr is not None
        match = re.search(r"http://([^/]+)/", process.stderr.readline())
        assert match is not None
        return match[1]

    yield start
    for process in running:
        process.terminate()
        process.communicate(timeout=120)


@pytest.fixture
def serve_metrics() -> Iterator[Callable[[str], str]]:
    """`serve_metrics(text)`: HOST:PORT of a target that answers with that text."""
    servers: list[ThreadingHTTPServer] = []

    def serve(text: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
