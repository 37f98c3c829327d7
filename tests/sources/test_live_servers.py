"""Which servers there are, from processes and URLs."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kvtop.domain.process import Container, Listener, Process
from kvtop.domain.server import ServerState
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.processes.discovery import FoundProcess, own_user
from kvtop.sources.servers.live_servers import LiveServers
from kvtop.sources.servers.watched_server import WatchedServer

VLLM = ("/venv/bin/vllm", "serve", "m", "--port", "18100")
LLAMA = ("llama-server", "-m", "m.gguf", "--port", "18200")


def found(pid: int, argv: Sequence[str], *ports: int, user: str | None = None) -> FoundProcess:
    listeners = tuple(Listener("127.0.0.1", port) for port in ports)
    name = argv[0].rpartition("/")[2]
    process = Process(pid, 1, name, tuple(argv), listeners=listeners, user=user or own_user(), children=(pid + 1,))
    return FoundProcess(process, tuple(argv), {}, (Process(pid + 1, pid, "child", ("child",)),))


def match(servers: LiveServers, *processes: FoundProcess) -> tuple[WatchedServer, ...]:
    servers.learn(processes)
    return servers.match(processes)


def test_a_server_is_its_process_and_its_children() -> None:
    (server,) = match(LiveServers((), None), found(10, VLLM, 18100))
    reading = server.reading()
    assert (reading.id, reading.engine, reading.pids) == ("127.0.0.1:18100", "vllm", (10, 11))


def test_ports_that_speak_no_http_are_never_asked() -> None:
    """While a data-parallel vLLM starts it listens for its engines only (ZeroMQ)."""
    (server,) = match(LiveServers((), None), found(10, VLLM, 33811, 40001))
    assert server.url == "http://127.0.0.1:18100"
    assert server.is_listening is False
    assert server.reading().state is ServerState.UNKNOWN
    (other,) = match(LiveServers((), None), found(10, LLAMA, 33811))
    assert other.url == "http://127.0.0.1:33811"


def test_of_two_that_were_told_one_port_only_one_has_it() -> None:
    first, second = match(LiveServers((), None), found(10, LLAMA, 18200), found(20, LLAMA))
    assert first.url == "http://127.0.0.1:18200"
    assert (second.id, second.url) == ("pid 20", None)
    assert "pid 10 has port 18200" in second.reading().hint


def test_a_url_and_its_process_are_one_server_and_the_urls_key_stays() -> None:
    servers = LiveServers((("http://localhost:18100", "its-key"),), "general-key")
    (server,) = match(servers, found(10, VLLM, 18100))
    assert (server.url, server.api_key, server.reading().pids) == ("http://localhost:18100", "its-key", (10, 11))
    (alone,) = match(servers)
    assert alone.reading().is_remote
    assert alone is server


def test_the_general_key_goes_to_ones_own_servers_only() -> None:
    own, others = match(
        LiveServers((), "general-key"), found(10, VLLM, 18100), found(20, LLAMA, 18200, user="somebody-else")
    )
    assert (own.api_key, others.api_key) == ("general-key", None)


def test_the_general_key_waits_until_it_is_certain_who_listens() -> None:
    """While a server of this user's still loads, anybody may listen on the port that it was told."""
    servers = LiveServers((), "general-key")
    (loading,) = match(servers, found(10, VLLM))
    assert (loading.url, loading.api_key) == ("http://127.0.0.1:18100", None)
    guessed = found(10, VLLM, 18100)
    guessed = replace(guessed, process=replace(guessed.process, listeners_certain=False))
    (uncertain,) = match(servers, guessed)
    assert uncertain.api_key is None
    (ready,) = match(servers, found(10, VLLM, 18100))
    assert (ready is loading, ready.api_key) == (True, "general-key")
    contained = found(10, VLLM, 18100)
    contained = replace(contained, process=replace(contained.process, container=Container("docker", "3f" * 32)))
    (foreign,) = match(LiveServers((), "general-key"), contained)
    assert foreign.api_key is None


@pytest.mark.parametrize("first", [10, 30])
def test_a_process_that_only_says_a_port_does_not_take_it(first: int) -> None:
    """Started before or after the server that listens there, by anybody."""
    real = found(20, LLAMA, 18200)
    servers = match(LiveServers((), None), *sorted((found(first, LLAMA), real), key=lambda it: it.process.pid))
    by_pid = {server.processes[0].pid: server for server in servers}
    assert by_pid[20].url == "http://127.0.0.1:18200"
    assert by_pid[first].url is None
    assert "pid 20 has port 18200" in by_pid[first].reading().hint


@pytest.mark.parametrize("first", [10, 30])
def test_without_their_descriptors_the_user_of_the_port_decides(first: int) -> None:
    """As an ordinary user: the table of ports says whose a port is, and a squatter of another user has no row in it."""
    squatter = found(first, LLAMA, user="mallory")
    squatter = replace(squatter, process=replace(squatter.process, listeners=(), listeners_certain=False))
    real = found(20, LLAMA, 18200, user="alice")
    real = replace(real, process=replace(real.process, listeners_certain=False))
    by_pid = {server.processes[0].pid: server for server in match(LiveServers((), None), squatter, real)}
    assert by_pid[20].url == "http://127.0.0.1:18200"
    assert by_pid[first].url is None


def test_another_process_behind_a_port_is_another_server() -> None:
    servers = LiveServers((), None)
    (server,) = match(servers, found(10, LLAMA, 18200))
    server._replies = {"/props": Reply("/props", 503)}
    assert server.reading().state is ServerState.LOADING
    (again,) = match(servers, found(30, LLAMA, 18200))
    assert again.reading().state is ServerState.UNKNOWN
    (other_engine,) = match(servers, replace(found(40, VLLM[:-1] + ("18200",), 18200)))
    assert other_engine.reading().engine == "vllm"
