"""Processes and endpoints become servers: one each, whichever was known first."""

from dataclasses import replace
from urllib.parse import urlsplit

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.process import Process
from kvtop.domain.sample import Failure
from kvtop.io.fault_reports import contained
from kvtop.sources.endpoints.engine import Engine
from kvtop.sources.engines import engine_of_process, unidentified
from kvtop.sources.processes.discovery import FoundProcess, own_user
from kvtop.sources.server_files.config_files import config_files
from kvtop.sources.servers.address import EndpointAddress, endpoint_address
from kvtop.sources.servers.watched_server import WatchedServer

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


class LiveServers:
    """The servers of the last tick. `urls` are (endpoint, key or None), `api_key` is for servers found by process."""

    def __init__(self, urls: tuple[tuple[str, str | None], ...], api_key: str | None) -> None:
        self._urls = urls
        self._api_key = api_key
        self._servers: dict[str, WatchedServer] = {}
        self._stumbled: tuple[Failure, ...] = ()
        self._launches: dict[tuple[int, tuple[str, ...]], tuple[LaunchOptions, tuple[Failure, ...]]] = {}

    def learn(self, found: tuple[FoundProcess, ...]) -> None:
        """Read the launch options of new processes. Reads files, which may hang: call from a thread."""
        launches = {}
        for it in found:
            key = (it.process.pid, it.argv)
            known = self._launches.get(key) or self._launch(it)
            if known is not None:
                launches[key] = known
        self._launches = launches

    def _launch(self, it: FoundProcess) -> tuple[LaunchOptions, tuple[Failure, ...]] | None:
        """Its options, and what is not certain of them. Where kvtop stumbles over them, the server has none."""
        name = unidentified.NAME
        try:
            engine = engine_of_process(it.process.name, it.argv)
            if engine is None:
                return None
            name = engine.NAME
            files = config_files(it, engine)
            return engine.launch(it.argv, it.environ, files.texts), files.failures
        except Exception as error:  # noqa: BLE001  one command line must not take the other servers along
            failure = contained(f"pid {it.process.pid} {name}", error, "reading its launch options")
            return LaunchOptions(name), (failure,)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What is not certain of the options of servers: configuration files that cannot be read, or have changed."""
        told = tuple(failure for _, failures in self._launches.values() for failure in failures)
        return told + self._stumbled

    def match(self, found: tuple[FoundProcess, ...]) -> tuple[WatchedServer, ...]:
        """The servers now: the named endpoints, and one for each process that is none of them."""
        wanted: dict[str, WatchedServer] = {}
        for url, key in self._urls:
            wanted[url] = self._servers.get(url) or WatchedServer(None, url, key)
        claims: set[str] = set()
        stumbled = []
        claimed = {_port(url): url for url, _ in self._urls if is_loopback(url)}
        placed: list[tuple[FoundProcess, LaunchOptions, Engine, Process, EndpointAddress]] = []
        for it in found:
            known = self._launches.get((it.process.pid, it.argv))
            if known is None:
                continue
            options, _ = known
            try:
                placed.append((it, options, *_placed(it, options)))
            except Exception as error:  # noqa: BLE001  as in `_launch`
                stumbled.append(contained(f"pid {it.process.pid} {options.engine}", error, "looking for its endpoint"))
        # Anybody may start a process that is told a port of another's: the one that has it comes first.
        placed.sort(key=lambda it: _claim(it[3], it[4]))
        for it, options, engine, process, reach in placed:
            # A port of another network namespace is another port, whatever its number.
            place = reach.url
            if it.process.shares_network is not False and reach.port in claimed:
                place = claimed[reach.port]
            note = reach.note
            if place is not None and place in claims:  # two that were told the same port: only one of them can have it
                note = f"pid {wanted[place].processes[0].pid} has port {reach.port} already"
                place = None
            name = place or f"pid {it.process.pid}"
            server = wanted.get(name) or self._servers.get(name)
            if server is None or (server.engine is not engine and name not in dict(self._urls)):
                server = WatchedServer(engine, place, None)
            if server.processes and server.processes[0].pid != it.process.pid:
                server.forget()
            if name not in dict(self._urls):
                server.api_key = self._key_for(it, reach)
            server.engine, server.options, server.reach_note = engine, options, note
            server.processes = (it.process, *it.children)
            server.is_listening = bool(process.listeners) if process.listeners_certain or process.listeners else None
            wanted[name] = server
            claims.add(name)
        for url in wanted.keys() - claims:
            wanted[url].detach()
        self._servers = wanted
        self._stumbled = tuple(stumbled)
        return tuple(wanted.values())

    def _key_for(self, found: FoundProcess, reach: EndpointAddress) -> str | None:
        """The general key goes to this user's own servers only, where it is certain that they listen.

        Anybody may call a process llama-server, and may listen on a port before the server that was told to does. A
        container's root is none of ours either, though it has the number of ours.
        """
        is_own = found.process.user == own_user() and found.process.container is None
        return self._api_key if is_own and _has_port(found.process, reach) else None


def _has_port(process: Process, reach: EndpointAddress) -> bool:
    """Whether this very process is known to listen there."""
    return process.listeners_certain and any(it.port == reach.port for it in process.listeners)


def _claim(process: Process, reach: EndpointAddress) -> int:
    """How good a process's claim to its port is: 0 it listens there, 1 its user does, 2 it was told that number."""
    if _has_port(process, reach):
        return 0
    return 1 if any(it.port == reach.port for it in process.listeners) else 2


def _placed(it: FoundProcess, options: LaunchOptions) -> tuple[Engine, Process, EndpointAddress]:
    """Its engine, the process with the ports that count, and where it can be asked."""
    engine = engine_of_process(it.process.name, it.argv) or unidentified
    told = engine.port_of(options)
    process = it.process
    if engine.OPENS_OTHER_PORTS:
        process = replace(process, listeners=tuple(own for own in process.listeners if own.port == told))
    return engine, process, endpoint_address(process, told)


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine by its loopback address."""
    host = url.split("://", 1)[-1].split("/", 1)[0].rpartition("@")[2]
    return (host if host in _LOOPBACK else host.rpartition(":")[0]) in _LOOPBACK
