"""One endpoint over time: what is asked again and what is not, and whose engine it is."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from kvtop.domain.server import ServerState
from kvtop.sources.engines import llamacpp, mlx
from kvtop.sources.http import HttpClient
from kvtop.sources.watched_server import WatchedServer

PROPS = b'{"default_generation_settings":{"n_ctx":64},"total_slots":1,"endpoint_slots":false,"build_info":"b1"}'


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Recorder)
        server.asked.append(self.path)
        server.keys.append(self.headers.get("Authorization"))
        status, body = server.replies.get(self.path, (404, b"Not Found"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class Recorder(HTTPServer):
    """Answers from `replies`, and remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def endpoint() -> Iterator[Recorder]:
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


async def test_what_was_answered_decides_what_is_asked_next_and_seldom_paths_wait(endpoint: Recorder) -> None:
    endpoint.replies = {"/props": (200, PROPS), "/v1/models": (200, b'{"data":[]}')}
    server = WatchedServer(llamacpp, endpoint.url, "the-key")
    assert server.reading().state is ServerState.UNKNOWN
    async with HttpClient() as client:
        for _ in range(3):
            await server.refresh(client)
    assert endpoint.asked == ["/props", "/v1/models", "/props", "/props"]
    assert set(endpoint.keys) == {"Bearer the-key"}
    assert server.reading().state is ServerState.READY
    assert server.id == f"127.0.0.1:{endpoint.server_port}"


async def test_a_seldom_path_that_failed_is_asked_again(endpoint: Recorder) -> None:
    server = WatchedServer(mlx, endpoint.url, None)
    async with HttpClient() as client:
        endpoint.replies = {"/health": (503, b'{"status": "unavailable"}')}
        await server.refresh(client)
        assert server.reading().state is ServerState.ERROR
        endpoint.replies = {"/health": (200, b'{"status": "ok"}')}
        server.processes = ()
        server.engine = mlx
        await server.refresh(client)
    assert "/v1/models" not in endpoint.asked


async def test_mlx_behind_a_url_is_recognised_and_then_asked_seldom(endpoint: Recorder) -> None:
    endpoint.replies = {"/health": (200, b'{"status": "ok"}')}
    server = WatchedServer(None, endpoint.url, None)
    async with HttpClient() as client:
        for _ in range(4):
            await server.refresh(client)
    assert server.engine is mlx
    assert server.reading().state is ServerState.READY
    assert endpoint.asked == ["/props", "/health"]
    assert set(endpoint.keys) == {None}


async def test_a_server_that_cannot_be_reached_is_never_asked(endpoint: Recorder) -> None:
    server = WatchedServer(llamacpp, None, None)
    server.reach_note = "it lives elsewhere"
    async with HttpClient() as client:
        await server.refresh(client)
    assert endpoint.asked == []
    reading = server.reading()
    assert reading.hint == "it lives elsewhere"
    assert reading.state is ServerState.UNREACHABLE
