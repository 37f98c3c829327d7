"""One Sample a tick under one deadline. A source that fails or hangs is a Failure or `pending`, never an exception."""

import asyncio
import platform
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.model_file import ModelFile
from kvtop.domain.sample import Failure, Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.daemon_thread import in_daemon_thread
from kvtop.sources.devices import BACKENDS
from kvtop.sources.devices.device_thread import DeviceReader
from kvtop.sources.engines import ENGINES, llamacpp
from kvtop.sources.http import HttpClient
from kvtop.sources.live_models import LiveModels, ModelRequest
from kvtop.sources.model_requests import model_requests
from kvtop.sources.processes import FoundProcess, ProcessTable, own_user
from kvtop.sources.watched_server import WatchedServer

_ANY_ADDRESS = frozenset({"0.0.0.0", "::", "::ffff:0.0.0.0"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


@dataclass(frozen=True, slots=True)
class PollerOptions:
    """What to watch and how often. `urls` are (endpoint, key or None); `api_key` is for servers found by process."""

    interval_seconds: float = 1.0
    deadline_seconds: float = 0.8
    urls: tuple[tuple[str, str | None], ...] = ()
    api_key: str | None = None
    discover: bool = True


class Poller:
    """Samples of this host. Use `samples` in one event loop; nothing of it outlives the loop but daemon threads."""

    def __init__(self, options: PollerOptions, devices: DeviceReader | None = None) -> None:
        self._options = options
        self._devices = devices if devices is not None else DeviceReader(BACKENDS)
        self._table = ProcessTable(lambda comm, argv: any(engine.recognises(comm, argv) for engine in ENGINES))
        self._models = LiveModels()
        self._model_answers: dict[ModelRequest, tuple[str, ModelFile | None, Failure | None]] = {}
        self._launches: dict[tuple[int, tuple[str, ...]], LaunchOptions] = {}
        self._servers: dict[str, WatchedServer] = {}
        self._found: tuple[FoundProcess, ...] = ()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._problems: dict[str, Failure] = {}
        self._client: HttpClient | None = None

    async def samples(self) -> AsyncIterator[Sample]:
        """A Sample every interval, for ever; a late tick is skipped, not made up for."""
        while True:
            started = time.monotonic()
            yield await self.sample()
            await asyncio.sleep(max(self._options.interval_seconds - (time.monotonic() - started), 0.05))

    async def sample(self) -> Sample:
        """Everything that answers within the deadline, and the last known of what does not."""
        ends = time.monotonic() + self._options.deadline_seconds
        reading_devices = asyncio.create_task(self._devices.read(self._options.deadline_seconds))
        if self._options.discover:
            await self._within(ends, {"processes": self._look_at_processes})
        self._match()
        if self._servers and self._client is None:
            self._client = HttpClient()
        jobs: dict[str, Callable[[], Coroutine[object, object, None]]] = {
            server.url: partial(self._ask, server) for server in self._servers.values()
        }
        late = await self._within(ends, jobs)
        readings = [server.reading() for server in self._servers.values()]
        by_pid = {found.process.pid: found for found in self._found}
        requests = {reading.id: _model_requests(reading, by_pid) for reading in readings}
        wanted = {request for pair in requests.values() for request in pair if request is not None}
        loading: dict[str, Callable[[], Coroutine[object, object, None]]] = {
            f"model {request.path}": partial(self._load, request) for request in sorted(wanted, key=str)
        }
        late += await self._within(ends, loading)
        devices, failures = await reading_devices
        models: dict[str, ModelFile] = {}
        servers: list[ServerReading] = []
        for reading in readings:
            keys: list[str | None] = []
            for request in requests[reading.id]:
                key, model, failure = self._model_answers.get(request, _NOT_READ) if request else _NOT_READ
                if key is not None and model is not None:
                    models[key] = model
                keys.append(key if model is not None else None)
                failures += () if failure is None else (failure,)
            servers.append(replace(reading, model_key=keys[0], draft_key=keys[1]))
        failures += tuple(Failure(f"server {it.id}", it.hint) for it in servers if it.state in {ServerState.ERROR})
        return Sample(
            taken_at=time.time(),
            host=platform.node() or "this host",
            devices=devices,
            processes=tuple(found.process for found in self._found),
            servers=tuple(sorted(servers, key=lambda it: it.id)),
            models=models,
            failures=(*failures, *self._problems.values(), *_unreadable(self._found)),
            pending=tuple(late),
        )

    async def _within(self, ends: float, jobs: dict[str, Callable[[], Coroutine[object, object, None]]]) -> list[str]:
        """Run jobs by name until `ends`. One still running from an earlier tick is waited for, never doubled."""
        for name, job in jobs.items():
            task = self._running.get(name)
            if task is None or task.done():
                self._running[name] = asyncio.create_task(job())
        tasks = {name: self._running[name] for name in jobs}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=max(ends - time.monotonic(), 0.01))
        for name, task in tasks.items():
            if task.done():
                del self._running[name]
                task.result()  # our own mistakes surface; what the world does wrong is data by then
        return [name for name, task in tasks.items() if not task.done()]

    async def _look_at_processes(self) -> None:
        try:
            self._found = await in_daemon_thread(self._table.look)
        except OSError as error:
            remedy = "discovery reads /proc and needs Linux; add servers with --url"
            self._problems["processes"] = Failure("processes", str(error), remedy)
        else:
            self._problems.pop("processes", None)

    async def _ask(self, server: WatchedServer) -> None:
        if self._client is not None:
            await server.refresh(self._client)

    async def _load(self, request: ModelRequest) -> None:
        self._model_answers[request] = await in_daemon_thread(lambda: self._models.load(request))

    def _match(self) -> None:
        """Processes and endpoints become servers: one each, whichever was known first."""
        wanted: dict[str, WatchedServer] = {}
        for url, key in self._options.urls:
            wanted[url] = self._servers.get(url) or WatchedServer(llamacpp, url, key)
            wanted[url].options, wanted[url].pids = None, ()
        claimed = {_port(url): url for url, _ in self._options.urls if _is_loopback(url)}
        for found in self._found:
            options = self._launch(found)
            url, port = _endpoint(found, options)
            url = claimed.get(port, url)
            server = wanted.get(url) or self._servers.get(url) or WatchedServer(llamacpp, url, self._key_for(found))
            server.options, server.pids = options, (found.process.pid,)
            wanted[url] = server
        self._servers = wanted

    def _key_for(self, found: FoundProcess) -> str | None:
        """The general key goes to this user's own servers only: anybody may call a process llama-server and listen."""
        return self._options.api_key if found.process.user == own_user() else None

    def _launch(self, found: FoundProcess) -> LaunchOptions:
        key = (found.process.pid, found.argv)
        if key not in self._launches:
            self._launches[key] = llamacpp.launch(found.argv, found.environ, _config_files(found))
        return self._launches[key]


def take_sample(options: PollerOptions) -> Sample:
    """One Sample, with time enough for a first answer of everything."""

    async def once() -> Sample:
        return await Poller(replace(options, deadline_seconds=3.0)).sample()

    return asyncio.run(once())


_NOT_READ: tuple[str | None, ModelFile | None, Failure | None] = (None, None, None)


def _model_requests(
    reading: ServerReading, found: Mapping[int, FoundProcess]
) -> tuple[ModelRequest | None, ModelRequest | None]:
    if not reading.pids and reading.url is not None and not _is_loopback(reading.url):
        return None, None
    return model_requests(reading, found.get(reading.pids[0]) if reading.pids else None)


def _endpoint(found: FoundProcess, options: LaunchOptions) -> tuple[str, int]:
    """Where to ask: the port it listens on, preferring the one it was told; before it listens, the told one."""
    told = llamacpp.port_of(options)
    listeners = found.process.listeners
    chosen = next((it for it in listeners if it.port == told), listeners[0] if listeners else None)
    if chosen is None:
        return f"http://127.0.0.1:{told}", told
    address = "127.0.0.1" if chosen.address in _ANY_ADDRESS else chosen.address
    return f"http://[{address}]:{chosen.port}" if ":" in address else f"http://{address}:{chosen.port}", chosen.port


def _port(url: str) -> int:
    from urllib.parse import urlsplit  # noqa: PLC0415  only with --url

    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _is_loopback(url: str) -> bool:
    host = url.split("://", 1)[-1].split("/", 1)[0].rpartition("@")[2]
    return (host if host in _LOOPBACK else host.rpartition(":")[0]) in _LOOPBACK


def _config_files(found: FoundProcess) -> list[tuple[str, str]]:
    """The config.ini files this server reads, as it sees them; unreadable ones are as good as absent."""
    home = found.environ.get("HOME")
    base = found.environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else None)
    paths = ["/etc/llama.cpp/config.ini", *([f"{base}/llama.cpp/config.ini"] if base else [])]
    texts = []
    for path in paths:
        seen = Path(f"/proc/{found.process.pid}/root{path}")
        for candidate in (seen, Path(path)):
            try:
                texts.append((path, candidate.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError):
                continue
            break
    return texts


def _unreadable(found: tuple[FoundProcess, ...]) -> tuple[Failure, ...]:
    remedy = "run kvtop as that process's user or as root"
    return tuple(
        Failure(f"pid {it.process.pid} {it.process.name}", ", ".join(it.process.unreadable), remedy)
        for it in found
        if it.process.unreadable
    )
