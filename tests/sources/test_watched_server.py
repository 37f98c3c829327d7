"""How often an endpoint is asked, and how its engine is found out."""

import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from kvtop.domain.server import ServerState
from kvtop.sources.endpoints.http import HttpClient
from kvtop.sources.engines import llamacpp, sglang, unidentified
from kvtop.sources.servers.watched_server import WatchedServer

PROPS = b'{"default_generation_settings":{"n_ctx":4096},"endpoint_slots":false,"build_info":"b1"}'


class _Endpoint(BaseHTTPRequestHandler):
    server_version = "uvicorn"
    sys_version = ""

    def do_GET(self) -> None:
        server: Endpoint = self.server  # type: ignore[assignment]  # the handler's own kind of server
        server.asked[self.path] += 1
        status, body = server.answers.get(self.path, (404, b"{}"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class Endpoint(ThreadingHTTPServer):
    """Answers what it is told to, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def test_a_stranger_is_asked_a_few_questions_and_then_left_alone(endpoint: Endpoint) -> None:
    watched = WatchedServer(None, endpoint.url, None)
    async with HttpClient() as client:
        for _ in range(5):
            await watched.refresh(client)
    assert watched.reading().state is ServerState.ERROR
    assert set(endpoint.asked) <= set(unidentified.PATHS)
    assert set(endpoint.asked.values()) == {1}


async def test_whoever_is_not_ready_is_asked_one_thing_at_a_time(endpoint: Endpoint) -> None:
    endpoint.answers = dict.fromkeys(unidentified.PATHS, (503, b""))
    watched = WatchedServer(None, endpoint.url, None)
    async with HttpClient() as client:
        for _ in range(3):
            await watched.refresh(client)
    assert watched.reading().state is ServerState.LOADING
    assert endpoint.asked == {"/props": 3}


async def test_a_recognised_server_is_asked_in_its_own_way(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.answers = {"/props": (200, PROPS), "/v1/models": (200, b"{}")}
    watched = WatchedServer(None, endpoint.url, None)
    async with HttpClient() as client:
        for _ in range(3):
            await watched.refresh(client)
        assert watched.engine is llamacpp
        assert (watched.reading().state, watched.reading().is_remote) == (ServerState.READY, True)
        # The first answer told what it is, and is used again; the model list is asked once a minute.
        assert endpoint.asked == {"/props": 3, "/v1/models": 1}
        later = time.monotonic() + 61
        monkeypatch.setattr(time, "monotonic", lambda: later)
        await watched.refresh(client)
    assert endpoint.asked["/v1/models"] == 2


@pytest.mark.parametrize(
    ("props", "key", "expected"),
    [
        ((200, PROPS), None, False),
        ((200, PROPS), "secret", None),  # whether it was the key that opened is not known
        ((401, b"{}"), None, True),
        ((403, b"{}"), "wrong", True),
        ((503, b"{}"), None, None),
    ],
    ids=["answers", "answers a key", "refuses", "refuses a key", "is loading"],
)
async def test_an_endpoint_shows_whether_it_has_a_key(
    endpoint: Endpoint, props: tuple[int, bytes], key: str | None, expected: bool | None
) -> None:
    endpoint.answers = {"/props": props, "/v1/models": (200, b"{}")}
    watched = WatchedServer(llamacpp, endpoint.url, key)
    async with HttpClient() as client:
        await watched.refresh(client)
    assert watched.reading().wants_key is expected


async def test_another_engine_behind_the_same_url_is_found_out(endpoint: Endpoint) -> None:
    endpoint.answers = {"/props": (200, PROPS), "/v1/models": (200, b"{}")}
    watched = WatchedServer(None, endpoint.url, None)
    async with HttpClient() as client:
        await watched.refresh(client)
        assert watched.engine is llamacpp
        endpoint.answers = {
            "/v1/models": (200, b'{"data":[{"id":"m","owned_by":"sglang"}]}'),
            "/server_info": (200, b'{"version":"0.5.23"}'),
        }
        await watched.refresh(client)
        assert watched.reading().state is ServerState.ERROR
        for _ in range(2):
            await watched.refresh(client)
    assert watched.engine is sglang
    assert watched.reading().version == "0.5.23"


async def test_what_is_not_there_is_not_asked_for_every_tick(endpoint: Endpoint) -> None:
    endpoint.answers = {"/get_server_info": (200, b'{"version":"0.4.6"}')}
    watched = WatchedServer(sglang, endpoint.url, None)
    async with HttpClient() as client:
        for _ in range(3):
            await watched.refresh(client)
    assert endpoint.asked == {"/server_info": 1, "/get_server_info": 1}


async def test_a_server_out_of_reach_is_not_asked() -> None:
    watched = WatchedServer(llamacpp, None, None)
    watched.reach_note = "inside its own network namespace only"
    async with HttpClient() as client:
        await watched.refresh(client)
    assert watched.reading().hint == "inside its own network namespace only"
