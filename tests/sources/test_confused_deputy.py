"""Processes of another user that name files they cannot read: nothing of those files is in any figure or message."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.sources.devices.device_reader import DeviceReader
from kvtop.sources.engines import engine_of_process
from kvtop.sources.poller import Poller, PollerOptions
from kvtop.sources.processes.discovery import ProcessTable
from kvtop.sources.processes.found_process import FoundProcess, Recognises
from kvtop.sources.processes.process_facts import Stat
from kvtop.sources.rights import reading
from kvtop.sources.rights.credentials import Credentials
from tests.sources.rights.conftest import STRANGER, become_stranger, child


class OneProcess:
    """A reader of processes that knows one real pid under an invented command line."""

    def __init__(self, pid: int, argv: tuple[str, ...], environ: dict[str, str]) -> None:
        self._pid, self._argv, self._environ = pid, argv, environ

    def stats(self) -> Iterator[tuple[int, Stat]]:
        yield self._pid, Stat(self._argv[0], 1, "7")

    def first_look(self, pid: int, stat: Stat, recognises: Recognises) -> FoundProcess | None:
        del stat
        if not recognises(self._argv[0], self._argv):
            return None
        process = Process(pid, 1, self._argv[0], self._argv, user=str(STRANGER), cwd="/", environ=())
        return FoundProcess(process, self._argv, self._environ)

    def again(self, process: Process, *, with_ports: bool) -> Process:
        del with_ports
        return process

    def child(self, pid: int, stat: Stat, known: Process | None) -> Process:
        del known
        return Process(pid, stat.ppid, stat.name, ())


def looked_at(pid: int, argv: tuple[str, ...], environ: dict[str, str]) -> Sample:
    table = ProcessTable(
        lambda comm, words: engine_of_process(comm, words) is not None, reader=OneProcess(pid, argv, environ)
    )

    async def once() -> Sample:
        poller = Poller(PollerOptions(deadline_seconds=3.0), DeviceReader(()), table)
        try:
            return await poller.sample(5.0)
        finally:
            await poller.aclose()

    return asyncio.run(once())


@pytest.fixture(params=["as root", "by modes"])
def pid(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A process of another user; without root one of our own that counts as another's."""
    if request.param == "by modes":
        monkeypatch.setattr(reading, "credentials_of", lambda *_: Credentials(STRANGER, STRANGER, ()))
        monkeypatch.setattr(reading, "can_switch", lambda: False)
        yield os.getpid()
        return
    if os.geteuid() != 0:
        pytest.skip("only root may start a process of another user")
    number = child(become_stranger)
    yield number
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder of kvtop's user alone, with everything that a server may name."""
    folder = tmp_path / "secret"
    (folder / "m").mkdir(parents=True)
    (folder / "ok.yaml").write_text(
        "model: CANARY_model\nserved-model-name: CANARY_served\nmax-model-len: CANARY_len\n"
    )
    (folder / "raw").write_bytes(b"CANA of a file that is no model")
    config = {"architectures": ["CANARY_arch"], "model_type": "CANARY_type", "hidden_size": "CANARY_h"}
    (folder / "m/config.json").write_text(json.dumps(config))
    ini = folder / ".config/llama.cpp/config.ini"
    ini.parent.mkdir(parents=True)
    ini.write_text("[*]\nalias = CANARY_alias\nmodel = CANARY_model\nctx-size = CANARY_size\n")
    (folder / "report").write_text(json.dumps({"schema": "kvtop.mlx-memory/1", "mlx_lm_version": "CANARY_version"}))
    (folder / "log").write_text("CANARY_log\nload_tensors: CPU model buffer size = 7.00 MiB\n")
    folder.chmod(0o700)
    return folder


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        ("vllm serve --config {}/ok.yaml --port 7003", {}),
        ("vllm serve --config {}/raw --port 7006", {}),
        ("vllm serve {}/m --port 7004", {}),
        ("mlx_lm.server --model {}/m --port 7005", {"KVTOP_REPORT_FILE": "{}/report"}),
        ("llama-server -m {}/raw --log-file {}/log --port 7001", {"HOME": "{}"}),
        ("llama-server --port 7009", {"LLAMA_ARG_MODEL": "{}/raw", "HOME": "{}", "LLAMA_LOG_FILE": "{}/log"}),
    ],
)
def test_nothing_of_a_closed_file_is_shown(pid: int, secret: Path, words: str, variables: dict[str, str]) -> None:
    environ = {name: value.replace("{}", str(secret)) for name, value in variables.items()}
    sample = looked_at(pid, tuple(words.replace("{}", str(secret)).split()), environ)
    assert len(sample.servers) == 1
    assert sample.servers[0].memory_reports == ()
    assert "CANA" not in repr(sample)
    assert sample.models == {}
    told = [it for it in sample.failures if str(secret) in it.source + it.message]
    assert [it for it in told if "as root" in it.remedy] == [], "more rights are no remedy"


def test_the_same_files_of_its_own_are_read(secret: Path) -> None:
    """What is refused above is refused for its owner alone: kvtop's own server may name them."""
    words = ("vllm", "serve", "--config", f"{secret}/ok.yaml", "--port", "7003")
    assert "CANARY_served" in repr(looked_at(os.getpid(), words, {}))
