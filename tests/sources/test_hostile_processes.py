"""Command lines that anybody on the machine may type: none of them ends a look at the others."""

import asyncio
import json
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerState
from kvtop.io import fault_reports
from kvtop.sources.devices.device_reader import DeviceReader
from kvtop.sources.engines import engine_of_process, llamacpp
from kvtop.sources.poller import Poller, PollerOptions
from kvtop.sources.processes.discovery import ProcessTable, own_user
from kvtop.sources.processes.found_process import FoundProcess, Recognises
from kvtop.sources.processes.process_facts import Stat
from kvtop.sources.recordings.reader import Recording
from kvtop.sources.servers.live_servers import LiveServers
from kvtop.verbs.command_line import exit_codes

LONG = "1" * 5000
ROOT = Path(__file__).parents[2]
COMMANDS = [
    *(f"vllm serve m {flag} {LONG}" for flag in ("--port", "--max-num-seqs", "--max-model-len")),
    *(f"vllm serve m {flag} {LONG}" for flag in ("--tensor-parallel-size", "--pipeline-parallel-size", "--block-size")),
    *("vllm serve m --max-num-seqs 999999999999999999999999999999", "vllm serve m --max-model-len 1e400"),
    *("vllm serve m --gpu-memory-utilization nan", "vllm serve m --gpu-memory-utilization 1e999"),
    *(f"llama-server -m x {flag} {LONG}" for flag in ("--port", "-c", "-np", "-ub", "-ngl", "-ncmoe")),
    *("llama-server -m x --port ²", "llama-server -m x --port 99999999", "llama-server -m x --port 65536"),
    *("llama-server -m x --port 80800", "llama-server -m x -c 99999999999999999999999999"),
    "llama-server -m x --rope-freq-base nan -c -2147483649",
    *(f"mlx_lm.server --model x {flag} {LONG}" for flag in ("--port", "--kv-bits", "--prompt-cache-size")),
    "mlx_lm.server --model x --port ²",
    *(f"python3 -m sglang.launch_server --model-path x {flag} {LONG}" for flag in ("--port", "--tp-size")),
    "python3 -m sglang.launch_server --model-path x --port ²",
    *("koboldcpp --port ²", f"koboldcpp --port {LONG}", f"koboldcpp --contextsize {LONG}"),
    *("llama-swap --listen :²", f"llama-swap --listen :{LONG}", f"llama-swap -listen {LONG}"),
    *("text-generation-launcher --model-id x --port ²", f"text-generation-launcher --max-batch-total-tokens {LONG}"),
    *("tritonserver --metrics-port ²", f"tritonserver --metrics-port {LONG}"),
    *("trtllm-serve x --port ²", f"trtllm-serve x --port {LONG}", f"trtllm-serve x --tp_size {LONG}"),
    *("llamafile --port ²", f"llamafile --port {LONG}", f"python3 -m llama_cpp.server --port {LONG}"),
    f"VLLM::Worker_TP{LONG}",
]


class Typed:
    """A reader of processes that shows these command lines, from pid 1000 on."""

    def __init__(self, commands: list[tuple[str, ...]]) -> None:
        self._argv = {1000 + number: words for number, words in enumerate(commands)}

    def stats(self) -> Iterator[tuple[int, Stat]]:
        yield from ((pid, Stat(words[0][-15:], 1, "7")) for pid, words in self._argv.items())

    def first_look(self, pid: int, stat: Stat, recognises: Recognises) -> FoundProcess | None:
        argv = self._argv[pid]
        if not recognises(stat.name, argv):
            return None
        return FoundProcess(Process(pid, 1, stat.name, argv, user=own_user(), environ=()), argv, {})

    def again(self, process: Process, *, with_ports: bool) -> Process:
        del with_ports
        return process

    def child(self, pid: int, stat: Stat, known: Process | None) -> Process:
        del known
        return Process(pid, stat.ppid, stat.name, ())


def looked_at(*commands: str) -> Sample:
    """What one tick says of these command lines, with nothing listening anywhere."""
    words = [tuple(shlex.split(command)) for command in commands]
    table = ProcessTable(lambda comm, argv: engine_of_process(comm, argv) is not None, reader=Typed(words))

    async def once() -> Sample:
        poller = Poller(PollerOptions(deadline_seconds=1.0), DeviceReader(()), table)
        try:
            return await poller.sample(5.0)
        finally:
            await poller.aclose()

    return asyncio.run(once())


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state directory, and no report remembered."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(fault_reports, "_written", {})
    return tmp_path / "state/kvtop"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda it: it[:48])
def test_a_command_line_neither_hides_another_server_nor_is_kvtops_fault(command: str, state: Path) -> None:
    sample = looked_at("llama-server -m first.gguf --port 18400", command)
    assert "127.0.0.1:18400" in [server.id for server in sample.servers]
    assert not state.exists(), [it.message for it in sample.failures]


@pytest.mark.parametrize(
    "typed",
    ["llama-server --port 65536", "llama-server --port 0080800", f"vllm serve --port {LONG}"],
    ids=lambda it: it[:30],
)
def test_a_port_that_does_not_exist_is_never_asked_and_said(typed: str) -> None:
    (server,) = looked_at(typed).servers
    assert (server.id, server.url) == ("pid 1000", None)
    assert "65535" in server.hint


def test_a_recogniser_at_fault_is_one_line_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    def stumbles(comm: str, argv: tuple[str, ...]) -> bool:
        del comm
        return [][len(argv)]

    monkeypatch.setattr(llamacpp, "recognises", stumbles)
    sample = looked_at("vllm serve m --port 18300", "llama-server --api-key CANARY")
    assert [server.id for server in sample.servers] == ["127.0.0.1:18300"]
    (failure,) = (it for it in sample.failures if "internal error" in it.message)
    assert failure.source == "pid 1001 llama.cpp"
    assert "sources/test_hostile_processes.py" in failure.message
    (report,) = (state / "faults").iterdir()
    assert str(report) in failure.remedy
    assert "CANARY" not in repr(sample.failures) + report.read_text(encoding="utf-8")
    assert report.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["launch", "port_of", "config_files"])
def test_options_at_fault_leave_the_other_servers(name: str, monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    def stumbles(*arguments: object) -> object:
        return [][len(arguments)]

    monkeypatch.setattr(llamacpp, name, stumbles)
    sample = looked_at("vllm serve m --port 18300", "llama-server --api-key CANARY")
    assert "127.0.0.1:18300" in [server.id for server in sample.servers]
    (failure,) = (it for it in sample.failures if "internal error" in it.message)
    assert failure.source == "pid 1001 llama.cpp"
    reports = [report.read_text(encoding="utf-8") for report in (state / "faults").iterdir()]
    assert "CANARY" not in repr(sample.failures) + "".join(reports)


def test_replies_at_fault_leave_the_server_without_what_they_say(monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    monkeypatch.setattr(llamacpp, "read", lambda known: known.options["CANARY"])
    servers = LiveServers((), None)
    argv = ("llama-server", "-m", "x")
    found = (FoundProcess(Process(7, 1, "llama-server", argv, user=own_user()), argv, {}),)
    servers.learn(found)
    (server,) = servers.match(found)
    reading = server.reading()
    assert (reading.state, reading.pids, reading.engine) == (ServerState.ERROR, (7,), "llama.cpp")
    assert "internal error" in reading.hint
    assert str(state) in reading.hint


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[set[int]]:
    """The pids of two processes of the review's recipes: ports typed wrong, with secrets beside them."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("processes are planted for /proc")
    (tmp_path / "sitecustomize.py").write_text("import time\nprint(flush=True)\ntime.sleep(300)\n", encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "HF_TOKEN": "CANARYENV"}
    processes = [
        subprocess.Popen(words, executable=sys.executable, env=environ, stdout=subprocess.PIPE)
        for words in (
            ["llama-server", "-m", "x", "--port", "80800", "--api-key", "CANARYARGV"],
            ["python3", "-m", "sglang.launch_server", "--port", LONG, "--api-key", "CANARYARGV"],
        )
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield {process.pid for process in processes}
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _begun(process: "subprocess.Popen[str]", textfile: Path) -> str:
    """What a command prints up to a sight of both servers, or until its textfile has them."""
    assert process.stdout is not None
    end, said = time.monotonic() + 240, ""
    while process.poll() is None and time.monotonic() < end:
        if textfile.exists() and "sglang" in textfile.read_text(encoding="utf-8"):
            break
        if select.select([process.stdout], [], [], 0.1)[0]:
            said += process.stdout.readline()
            if "sglang" in said.lower() and "llama.cpp" in said.lower():
                break
    return said


@pytest.mark.parametrize(
    "verb",
    [
        *(["snapshot", "--json"], ["doctor"], ["lint"], ["report", "--seconds", "1", "-o", "r.zip"]),
        *(["record", "r.kvtop", "--duration", "3s"], ["exporter", "--textfile", "x.prom"], ["--accessible"]),
    ],
    ids=lambda it: it[0],
)
def test_every_verb_survives_a_port_typed_wrong(verb: list[str], planted: set[int], tmp_path: Path) -> None:
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "NO_COLOR": "1"}
    environ |= {"KVTOP_API_KEY": "CANARYOWNKEY", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kvtop", *verb]
    with subprocess.Popen(
        command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        said = ""
        if verb[0] in {"exporter", "--accessible"}:  # these end when they are told to, here once they have looked
            said = _begun(process, tmp_path / "x.prom")
            process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=240)
    said += rest
    assert "Traceback" not in errors, errors
    assert "CANARY" not in said + errors
    assert process.returncode in {0, 1, 3, exit_codes.INTERRUPTED}, errors
    if verb[0] == "snapshot":
        assert planted <= {pid for server in json.loads(said)["servers"] for pid in server["pids"]}
    if verb[0] == "record":
        assert len(Recording(tmp_path / "r.kvtop")) >= 1
    assert not (tmp_path / "state").exists()


def test_the_dashboard_survives_it_too(planted: set[int], tmp_path: Path) -> None:
    """It printed 56 kB of the command lines and environments of every process."""
    assert len(planted) == 2
    master, slave = pty.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [sys.executable, "-m", "kvtop"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ) as process:
        os.close(slave)
        sent, end, is_shown, pressed_at = b"", time.monotonic() + 120, False, 0.0
        while time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    sent += os.read(master, 65536)
                except OSError:
                    break
            elif process.poll() is not None:
                break
            is_shown = is_shown or (b"SGLang" in sent and b"llama.cpp" in sent)
            if is_shown and time.monotonic() > pressed_at + 3:
                pressed_at = time.monotonic()
                os.write(master, b"q")
        else:
            process.kill()
    os.close(master)
    assert process.wait() == 0, sent[-2000:]
    assert is_shown
    assert b"CANARY" not in sent
    assert b"Traceback" not in sent
    assert not (tmp_path / "state").exists()
