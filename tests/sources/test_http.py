"""The one door to endpoints: bounded in size and time, GET only, never redirected, never an exception."""

import time
from http.server import ThreadingHTTPServer

from kvtop.sources.endpoints.http import HttpClient, Reply


async def ask(
    server: ThreadingHTTPServer, path: str, key: str | None = None, timeout_seconds: float = 60.0
) -> tuple[Reply, float]:
    started = time.monotonic()
    async with HttpClient(timeout_seconds=timeout_seconds) as client:
        reply = await client.get(f"http://127.0.0.1:{server.server_port}", path, key)
    return reply, time.monotonic() - started


async def test_answers(bad_server: ThreadingHTTPServer) -> None:
    reply, _ = await ask(bad_server, "/props", "k1")
    assert (reply.status, reply.body) == (200, b"Bearer k1")
    reply, _ = await ask(bad_server, "/503")
    assert reply.status == 503


async def test_a_server_that_never_ends_is_cut_off(bad_server: ThreadingHTTPServer) -> None:
    for path in ("/hang", "/drip"):
        reply, seconds = await ask(bad_server, path, timeout_seconds=0.5)
        assert reply.status is None
        assert "no answer within 0.5 s" in reply.error
        assert seconds < 20  # it would go on for a minute; a busy machine is late


async def test_a_reply_without_end_is_an_error_and_not_a_memory_problem(bad_server: ThreadingHTTPServer) -> None:
    reply, _ = await ask(bad_server, "/endless")
    assert reply.status is None
    assert reply.body == b""


async def test_a_packed_reply_is_not_unpacked(bad_server: ThreadingHTTPServer) -> None:
    reply, _ = await ask(bad_server, "/packed")
    assert (reply.status, reply.body) == (None, b"")
    assert "packed" in reply.error


async def test_redirects_are_not_followed(bad_server: ThreadingHTTPServer) -> None:
    reply, _ = await ask(bad_server, "/redirect")
    assert reply.status == 302
    assert "not followed" in reply.error


async def test_nobody_there_and_no_url(dead_address: str) -> None:
    async with HttpClient(timeout_seconds=60.0) as client:
        assert (await client.get(f"http://{dead_address}", "/props")).error == "connection refused"
        assert (await client.get("http://[", "/props")).status is None
