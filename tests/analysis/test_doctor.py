"""A checkup tells everything that was probed, every failure once, and what to do about each."""

import pytest

from kvtop.analysis.doctor import checkup
from kvtop.domain.answers.checkup import Area, Checkup, Outcome, Probe, ProbedHost
from kvtop.domain.device import Device, DeviceMemory, DeviceState, ProcessMemory
from kvtop.domain.driver import HOST_DRIVER
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.process import Container, Listener, Process
from kvtop.domain.sample import Failure, Sample
from kvtop.domain.server import ModelFacts, ServerReading, ServerState
from kvtop.sources.devices.nvml import NVML
from kvtop.sources.devices.nvml.errors import DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, DriverError, driver_failure
from kvtop.views.text.checkup_text import checkup_text

GIB = 2**30
AROUND = ProbedHost((NVML, HOST_DRIVER), ("llama.cpp", "vllm", "mlx"), frozenset({"NVIDIA"}))
HOST = Device("host", "host memory", HOST_DRIVER, DeviceMemory(64 * GIB, 8 * GIB), None, 0.0)
MODEL = GgufHeader("/m.gguf", 3, False, {"general.architecture": "llama"}, (), 4 * GIB, ("a", "b"), ("odd",))


def card(**changes: object) -> Device:
    listed = (ProcessMemory(7, GIB),)
    values: dict[str, object] = {"memory": DeviceMemory(24 * GIB, 2 * GIB), "processes": listed, "measured_at": 0.0}
    return Device("gpu0", "RTX 4090", NVML, **{**values, **changes})  # type: ignore[arg-type]


def server(state: ServerState = ServerState.READY, **changes: object) -> ServerReading:
    values: dict[str, object] = {"url": "http://127.0.0.1:8080", "pids": (7,), "model": ModelFacts(path="/m.gguf")}
    return ServerReading("127.0.0.1:8080", "llama.cpp", state, **{**values, **changes})  # type: ignore[arg-type]


def process(**changes: object) -> Process:
    return Process(7, 1, "llama-server", ("llama-server",), user="llm", **changes)  # type: ignore[arg-type]


def look(around: ProbedHost = AROUND, **parts: object) -> Checkup:
    values: dict[str, object] = {"devices": (card(), HOST), "servers": (server(model_key="/m.gguf"),)}
    values |= {"processes": (process(),), "models": {"/m.gguf": MODEL}}
    return checkup(Sample(1.0, "box", **{**values, **parts}), around, "9.9")  # type: ignore[arg-type]


def probe(found: Checkup, area: Area, subject: str) -> Probe:
    (one,) = [it for it in found.probes if (it.area, it.subject) == (area, subject)]
    return one


def test_all_well() -> None:
    found = look()
    assert found.failed() == ()
    assert checkup_text(found) == (
        "kvtop 9.9 on box\n\n"
        "drivers\n"
        "  ok     gpu0: RTX 4090, 2.00 GiB of 24.0 GiB used, 1 process\n"
        "  ok     host: host memory, 8.00 GiB of 64.0 GiB used\n\n"
        "processes\n"
        "  ok     pid 7: llama-server, user llm\n\n"
        "endpoints\n"
        "  ok     127.0.0.1:8080: llama.cpp: ready\n\n"
        "model files\n"
        "  ok     /m.gguf: llama GGUF in 2 parts, 0 tensors, 4.00 GiB; odd\n\n"
        "all well: 1 server\n"
    )


def test_of_another_users_process_no_port_is_claimed() -> None:
    """Its descriptors are closed: what its user listens on may be anybody's of that user."""
    ports = tuple(Listener("127.0.0.1", port) for port in (22, 8080))
    found = look(processes=(process(listeners=ports, listeners_certain=False),))
    assert probe(found, Area.PROCESSES, "pid 7").answer == "llama-server, user llm, its port is one of 2 of its user's"
    certain = look(processes=(process(listeners=ports),))
    assert probe(certain, Area.PROCESSES, "pid 7").answer.endswith("port 22, 8080")


@pytest.mark.parametrize(
    ("silent", "is_told"),
    [
        (server(model=ModelFacts()), True),
        (server(ServerState.UNREACHABLE, model=ModelFacts()), False),
        (server(model=ModelFacts(), hosted=()), False),
    ],
)
def test_a_server_without_a_model_file_is_told_unless_that_is_known(silent: ServerReading, *, is_told: bool) -> None:
    """Who does not answer has a line of its own; who hosts several models has none itself."""
    told = [it for it in look(servers=(silent,), models={}).probes if it.area is Area.MODEL_FILES]
    assert bool(told) is is_told


def test_every_failure_is_told_once_and_with_its_remedy() -> None:
    failures = (
        Failure("nvml", "driver not loaded", "modprobe nvidia"),
        Failure("pid 7 llama-server", "environ: permission denied", "run as root"),
        Failure("gpu0 pid 99", "processes of the driver are not in /proc", "run on the host"),
        Failure("model file /m.gguf", "truncated", "fetch it again"),
        Failure("something new", "odd", "look"),
        Failure("something new", "odd", "look"),
    )
    found = look(devices=(HOST,), failures=failures, servers=(server(),), models={})
    failed = found.failed()
    assert len(failed) == 5
    for failure in failures:
        (told,) = [it for it in failed if failure.message in it.answer]
        assert told.remedy == failure.remedy
    text = checkup_text(found)
    assert "5 of 7 probes failed" in text
    assert "  FAILED nvml: driver not loaded\n         do: modprobe nvidia\n" in text


@pytest.mark.parametrize("code", [DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND])
@pytest.mark.parametrize(
    ("makers", "outcome"),
    [(frozenset({"NVIDIA"}), "failed"), (None, "failed"), (frozenset(), "note"), (frozenset({"AMD"}), "note")],
)
def test_a_driver_without_its_card_is_not_missed(makers: frozenset[str] | None, outcome: str, code: int) -> None:
    failures = (driver_failure(DriverError(code)),)
    found = look(ProbedHost((NVML, HOST_DRIVER), ("vllm",), makers), devices=(HOST,), failures=failures)
    assert probe(found, Area.DRIVERS, "nvml").outcome == outcome
    assert ("AMD" in {it.subject for it in found.probes}) is (makers == frozenset({"AMD"}))


def test_a_driver_that_answered_and_hangs_is_missed_whatever_is_on_the_buses() -> None:
    """In WSL the card is on no bus of the guest."""
    failure = Failure("nvml", "the driver has not answered for 3 s", "dmesg")
    found = look(ProbedHost((NVML, HOST_DRIVER), ("vllm",), frozenset()), devices=(HOST,), failures=(failure,))
    assert [it.subject for it in found.failed()] == ["nvml"]


@pytest.mark.parametrize(
    ("device", "outcome", "words"),
    [
        (card(state=DeviceState.LOST, note="fell off the bus"), Outcome.FAILED, "lost: fell off the bus"),
        (card(state=DeviceState.STALE, note="silent"), Outcome.FAILED, "stale: silent"),
        (card(processes=None), Outcome.FAILED, "list of its processes"),
        (card(processes=(ProcessMemory(7, None), ProcessMemory(8, 1))), Outcome.NOTE, "not the memory of 1"),
        (card(memory=DeviceMemory()), Outcome.OK, "? of ? used"),
    ],
)
def test_devices(device: Device, outcome: Outcome, words: str) -> None:
    found = probe(look(devices=(device,)), Area.DRIVERS, "gpu0")
    assert found.outcome is outcome
    assert words in found.answer


def test_processes_with_all_that_is_known_of_them() -> None:
    container = Container("docker", "ab" * 32, "web")
    main = process(
        container=container,
        shares_network=False,
        addresses=("172.17.0.2",),
        listeners=(Listener("0.0.0.0", 8080), Listener("::", 8080)),
        children=(8,),
        notes=("its program was replaced",),
    )
    child = Process(8, 7, "VLLM::Worker", ("VLLM::Worker",))
    foreign = Process(9, 1, "Xorg", ("Xorg",))
    nameless = Process(99, None, "?", None)
    found = look(processes=(main, child, foreign, nameless))
    told = probe(found, Area.PROCESSES, "pid 7")
    assert told.outcome is Outcome.NOTE
    assert told.answer == (
        "llama-server, user llm, in docker web, own network (172.17.0.2), port 8080, 1 child; its program was replaced"
    )
    assert probe(found, Area.PROCESSES, "others on devices").answer == "Xorg (9)"


def test_nothing_to_watch_names_what_was_looked_for() -> None:
    found = look(servers=(), processes=(), models={})
    assert found.failed() == ()
    told = probe(found, Area.PROCESSES, "discovery")
    assert "llama.cpp, vllm, mlx" in told.answer
    assert "--url" in told.remedy
    assert checkup_text(found).endswith("nothing failed; there is no server to watch\n")
    assert "endpoints\n  nothing to look at\n" in checkup_text(found)
    off = look(ProbedHost((HOST_DRIVER,), (), None, discovers=False), servers=(), processes=(), models={})
    assert "switched off" in probe(off, Area.PROCESSES, "discovery").answer


@pytest.mark.parametrize(
    ("reading", "outcome", "words", "remedy"),
    [
        (server(ServerState.LOADING, hint="being loaded"), Outcome.NOTE, "loading; being loaded", "wait"),
        (server(ServerState.SLEEPING), Outcome.NOTE, "sleeping", ""),
        (server(ServerState.LOCKED, hint="wants a key"), Outcome.FAILED, "wants a key", "KVTOP_API_KEY"),
        (server(ServerState.UNREACHABLE, hint="refused"), Outcome.FAILED, "refused", "http://127.0.0.1:8080"),
        (server(ServerState.ERROR, hint="status 500"), Outcome.FAILED, "status 500", "log"),
        (server(ServerState.UNKNOWN, url=None, hint="own namespace"), Outcome.FAILED, "own namespace", "reachable"),
    ],
)
def test_endpoints(reading: ServerReading, outcome: Outcome, words: str, remedy: str) -> None:
    told = probe(look(servers=(reading,)), Area.ENDPOINTS, reading.id)
    assert told.outcome is outcome
    assert words in told.answer
    assert remedy in told.remedy


def test_what_is_pending_failed() -> None:
    assert probe(look(pending=("http://h:1",)), Area.ENDPOINTS, "http://h:1").outcome is Outcome.FAILED


def test_checkpoints_and_servers_that_name_no_model() -> None:
    checkpoint = Checkpoint("/c", {"model_type": "qwen3"}, (), None, ("1 of 2 weight files missing",))
    servers = (server(model_key="/c"), server(model=ModelFacts()))
    found = look(servers=servers, models={"/c": checkpoint})
    assert probe(found, Area.MODEL_FILES, "/c").answer == (
        "qwen3 checkpoint, 0 tensors, ?; 1 of 2 weight files missing"
    )
    assert "does not report" in probe(found, Area.MODEL_FILES, "127.0.0.1:8080").answer
