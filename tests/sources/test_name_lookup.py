"""A name server that does not answer keeps one endpoint waiting, and nothing else."""

import asyncio
import socket
import threading
import time

import pytest

from kvtop.domain.server import ServerState
from kvtop.io import daemon_thread
from kvtop.sources.devices.device_reader import DeviceReader
from kvtop.sources.endpoints.http import HttpClient
from kvtop.sources.poller import Poller, PollerOptions


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that were looked up; of a name under .example nothing comes back for a minute."""
    asked: list[str] = []
    real = socket.getaddrinfo
    never = threading.Event()

    def look(host: str | bytes, *rest: object) -> object:
        name = host if isinstance(host, str) else host.decode()
        asked.append(name)
        if name.endswith(".example"):
            never.wait(60)
        return real(host, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    return asked


def test_leaving_does_not_wait_for_a_lookup(silent: list[str]) -> None:
    async def ask() -> str:
        async with HttpClient(timeout_seconds=0.3) as client:
            first = await client.get("http://gpu.example:8000", "/metrics")
            again = await client.get("http://gpu.example:8000", "/metrics")
            assert first.error == again.error
            return first.error

    started = time.monotonic()
    assert "no answer within" in asyncio.run(ask())
    assert time.monotonic() - started < 20, "asyncio joins its own pool when a loop closes"
    assert silent == ["gpu.example"], "who asks again waits for the same lookup"


def test_the_other_endpoints_are_asked_meanwhile(silent: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.close()  # refused at once, which is an answer
        urls = (("http://gpu.example:8000", None), (f"http://127.0.0.1:{port}", None))

        async def look() -> tuple[str, ...]:
            poller = Poller(PollerOptions(deadline_seconds=1.0, urls=urls, discover=False), DeviceReader(()))
            try:
                sample = await poller.sample()
            finally:
                await poller.aclose()
            states = {it.id: it.state for it in sample.servers}
            assert states[f"127.0.0.1:{port}"] is ServerState.UNREACHABLE
            return sample.pending

        assert asyncio.run(look()) == ("http://gpu.example:8000",)
    assert "gpu.example" in silent


def test_a_machine_that_gives_no_thread_for_a_lookup_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise daemon_thread.NoThreadError

    monkeypatch.setattr(daemon_thread, "started", refuse)

    async def ask() -> str:
        async with HttpClient() as client:
            return (await client.get("http://gpu.example:8000", "/metrics")).error

    assert "no more threads" in asyncio.run(ask())


def test_a_machine_that_gives_no_thread_for_a_look_is_one_line_and_the_next_look_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = daemon_thread.started
    refused: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        refused.append(thread)
        raise daemon_thread.NoThreadError

    async def look() -> tuple[list[str], list[str]]:
        poller = Poller(PollerOptions(deadline_seconds=5.0), DeviceReader(()))
        try:
            monkeypatch.setattr(daemon_thread, "started", refuse)
            first = await poller.sample()
            monkeypatch.setattr(daemon_thread, "started", given)
            second = await poller.sample()
        finally:
            await poller.aclose()
        words = "no more threads"
        return [it.source for it in first.failures if words in it.message], [
            it.source for it in second.failures if words in it.message
        ]

    first, second = asyncio.run(look())
    assert "processes" in first
    assert second == []
    assert refused
