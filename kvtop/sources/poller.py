"""One Sample a tick under one deadline. A source that fails or hangs is a Failure or `pending`, never an exception."""

import asyncio
import platform
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial

from kvtop.domain.engine_report import RankReport
from kvtop.domain.model_file import ModelFile
from kvtop.domain.sample import PROCESSES, Failure, Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.io.daemon_thread import NoThreadError, in_daemon_thread
from kvtop.io.fault_reports import contained
from kvtop.sources.devices import BACKENDS
from kvtop.sources.devices.device_reader import DeviceReader
from kvtop.sources.devices.makers import accelerator_makers, unseen_makers, without_missing_makers
from kvtop.sources.endpoints.http import HttpClient
from kvtop.sources.engines import engine_of_process, llamacpp
from kvtop.sources.models.live_models import LiveModels, ModelRequest
from kvtop.sources.models.model_requests import model_requests
from kvtop.sources.models.ollama_models import OllamaModels
from kvtop.sources.processes.discovery import FoundProcess, ProcessTable
from kvtop.sources.processes.foreign import foreign_failures, foreign_processes, hidden_processes
from kvtop.sources.redaction.sanitize import sanitized
from kvtop.sources.server_files.mlx_reports import MlxReport, mlx_report, with_report
from kvtop.sources.server_files.server_logs import ServerLogs
from kvtop.sources.servers.live_servers import LiveServers, is_loopback
from kvtop.sources.servers.watched_server import WatchedServer

PATIENCE_SECONDS = 12.0
"""How much longer than its deadline a single look waits for processes: without them it shows nothing at all."""


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

    def __init__(
        self, options: PollerOptions, devices: DeviceReader | None = None, table: ProcessTable | None = None
    ) -> None:
        self._options = options
        self._devices = devices if devices is not None else DeviceReader(BACKENDS)
        self._table = table or ProcessTable(lambda comm, argv: engine_of_process(comm, argv) is not None)
        self._models = LiveModels()
        self._model_answers: dict[ModelRequest, tuple[str, ModelFile | None, Failure | None]] = {}
        self._servers = LiveServers(options.urls, options.api_key)
        self._ollama = OllamaModels()
        self._makers = accelerator_makers()
        self._found: tuple[FoundProcess, ...] = ()
        self._reports: dict[int, MlxReport | Failure] = {}
        self._logs = ServerLogs()
        self._logged: dict[int, tuple[RankReport, ...]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._problems: dict[str, Failure] = {}
        self._stumbled: dict[str, Failure] = {}
        self._jobs_of_tick: set[str] = set()
        self._client: HttpClient | None = None

    async def samples(self) -> AsyncIterator[Sample]:
        """A Sample every interval, for ever; a late tick is skipped, not made up for."""
        while True:
            started = time.monotonic()
            yield await self.sample()
            await asyncio.sleep(max(self._options.interval_seconds - (time.monotonic() - started), 0.05))

    async def aclose(self) -> None:
        """Give up what still runs, and close the connections to the servers."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()
        if self._client is not None:
            await self._client.aclose()

    async def sample(self, patience_seconds: float = 0.0) -> Sample:
        """Everything that answers within the deadline, and the last known of what does not.

        `patience_seconds` is how much longer processes are waited for where no later tick would show them: nobody can
        read a command line while its process is busy with its own memory map. The rest has its deadline after that.
        """
        late: list[str] = []
        self._jobs_of_tick = set()
        ends = time.monotonic() + self._options.deadline_seconds
        reading_devices = asyncio.create_task(self._devices.read(self._options.deadline_seconds))
        if self._options.discover:
            late += await self._within(ends + patience_seconds, {PROCESSES: self._look_at_processes})
        watched = self._servers.match(self._found)
        if watched and self._client is None:
            self._client = HttpClient()
        if patience_seconds:  # neither processes nor the import of the client take from the time of endpoints
            ends = time.monotonic() + self._options.deadline_seconds
        jobs: dict[str, Callable[[], Coroutine[object, object, None]]] = {
            server.url: partial(self._ask, server) for server in watched if server.url is not None
        }
        late += await self._within(ends, jobs)
        readings = [_reported(server.reading(), self._reports, self._logged) for server in watched]
        by_pid = {found.process.pid: found for found in self._found}
        if self._ollama.unknown(readings):
            late += await self._within(ends, {"Ollama's names": partial(self._name, readings, by_pid)})
        readings = self._ollama.named(readings, by_pid)
        requests = {reading.id: _model_requests(reading, by_pid) for reading in readings}
        wanted = {request for pair in requests.values() for request in pair if request is not None}
        loading: dict[str, Callable[[], Coroutine[object, object, None]]] = {
            _job_name(request): partial(self._load, request) for request in sorted(wanted, key=str)
        }
        late += await self._within(ends, loading)
        self._model_answers = {request: it for request, it in self._model_answers.items() if request in wanted}
        self._models.forget_all_but(wanted)
        devices, failures = await reading_devices
        failures = without_missing_makers(failures, devices, self._makers)
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
        foreign = foreign_processes(devices, {pid for found in self._found for pid in found.pids})
        failures += foreign_failures(devices, foreign)
        self._stumbled = {name: it for name, it in self._stumbled.items() if name in self._jobs_of_tick}
        failures += (*self._table.failures, *self._servers.failures, *self._logs.failures, *self._stumbled.values())
        failures += tuple(Failure(f"server {it.id}", it.hint, _LOOK) for it in servers if it.state in _SILENT)
        unreported = [report for report in self._reports.values() if isinstance(report, Failure)]
        sample = Sample(
            taken_at=time.time(),
            host=platform.node() or "this host",
            devices=devices,
            processes=(*(it for found in self._found for it in (found.process, *found.children)), *foreign),
            servers=tuple(sorted(servers, key=lambda it: it.id)),
            models=models,
            failures=(*failures, *self._problems.values(), *unreported, *_unreadable(self._found)),
            pending=tuple(late),
            unseen_makers=unseen_makers(self._makers, devices),
        )
        try:
            return await in_daemon_thread(lambda: sanitized(sample))
        except NoThreadError:
            return sanitized(sample)

    async def _within(self, ends: float, jobs: dict[str, Callable[[], Coroutine[object, object, None]]]) -> list[str]:
        """Run jobs by name until `ends`. One still running from an earlier tick is waited for, never doubled."""
        self._jobs_of_tick |= jobs.keys()
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
                self._note(name, task)
        return [name for name, task in tasks.items() if not task.done()]

    def _note(self, name: str, task: "asyncio.Task[None]") -> None:
        """A job that kvtop itself stumbled in is a line on Sources; what the world does wrong is data by then."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, NoThreadError):
            self._stumbled[name] = Failure(name, error.strerror or str(error), _NO_THREAD)
        elif isinstance(error, Exception):
            self._stumbled[name] = contained(name, error, "reading it")
        elif error is not None:
            raise error
        else:
            self._stumbled.pop(name, None)

    async def _look_at_processes(self) -> None:
        try:
            self._found = await in_daemon_thread(self._look)
        except NoThreadError as error:
            self._problems["processes"] = Failure("processes", error.strerror or str(error), _NO_THREAD)
        except OSError as error:
            remedy = "discovery reads /proc and needs Linux; add servers with --url"
            self._problems["processes"] = Failure("processes", str(error), remedy)
        else:
            hidden = hidden_processes()
            self._problems.pop("processes", None)
            self._problems |= {} if hidden is None else {"processes": hidden}

    def _look(self) -> tuple[FoundProcess, ...]:
        found = self._table.look()
        self._servers.learn(found)
        logging = (it for it in found if engine_of_process(it.process.name, it.argv) is llamacpp)
        self._logged = self._logs.look(tuple(logging))
        self._reports = {it.process.pid: report for it in found if (report := _report_of(it)) is not None}
        return found

    async def _ask(self, server: WatchedServer) -> None:
        if self._client is not None:
            await server.refresh(self._client)

    async def _name(self, readings: list[ServerReading], found: dict[int, FoundProcess]) -> None:
        await in_daemon_thread(lambda: self._ollama.learn(readings, found))

    async def _load(self, request: ModelRequest) -> None:
        self._model_answers[request] = await in_daemon_thread(lambda: self._models.load(request))


def take_sample(options: PollerOptions) -> Sample:
    """One Sample, with time enough for a first answer of everything."""
    return take_samples(options, 1)[0]


def take_samples(options: PollerOptions, looks: int, apart_seconds: float = 0.0) -> tuple[Sample, ...]:
    """The same more than once, so that what moves can be told; once where there is no server."""

    async def taken() -> tuple[Sample, ...]:
        poller = Poller(replace(options, deadline_seconds=3.0))
        try:
            found = [await poller.sample(PATIENCE_SECONDS)]
            while len(found) < looks and found[0].servers:
                await asyncio.sleep(apart_seconds)
                found.append(await poller.sample())
            return tuple(found)
        finally:
            await poller.aclose()

    return asyncio.run(taken())


_NO_THREAD = "nothing, if it is gone at the next look; else raise the limit of threads (pids.max, ulimit -u)"
_SILENT = frozenset({ServerState.ERROR, ServerState.UNREACHABLE})
_LOOK = "see whether it runs, and what its log says; it is asked again with every refresh"
"""Of these nothing that was wanted could be read."""

_NOT_READ: tuple[str | None, ModelFile | None, Failure | None] = (None, None, None)


def _report_of(found: FoundProcess) -> MlxReport | Failure | None:
    try:
        return mlx_report(found)
    except Exception as error:  # noqa: BLE001  a file of another user must not take the other servers along
        return contained(f"pid {found.process.pid} mlx", error, "reading its memory report")


def _job_name(request: ModelRequest) -> str:
    """Servers of one model each see it by their own root, so their requests are two."""
    return f"model {request.path}" if request.pid is None else f"model {request.path} of pid {request.pid}"


def _reported(
    reading: ServerReading,
    reports: Mapping[int, MlxReport | Failure],
    logged: Mapping[int, tuple[RankReport, ...]],
) -> ServerReading:
    if reading.pids and reading.pids[0] in logged and not reading.memory_reports:
        return replace(reading, memory_reports=logged[reading.pids[0]])
    report = reports.get(reading.pids[0]) if reading.pids else None
    return with_report(reading, report) if isinstance(report, MlxReport) else reading


def _model_requests(
    reading: ServerReading, found: Mapping[int, FoundProcess]
) -> tuple[ModelRequest | None, ModelRequest | None]:
    if not reading.pids and reading.url is not None and not is_loopback(reading.url):
        return None, None
    return model_requests(reading, found.get(reading.pids[0]) if reading.pids else None)


def _unreadable(found: tuple[FoundProcess, ...]) -> tuple[Failure, ...]:
    remedy = "run kvtop as that process's user or as root"
    return tuple(
        Failure(f"pid {it.process.pid} {it.process.name}", ", ".join(it.process.unreadable), remedy)
        for it in found
        if it.process.unreadable
    )
