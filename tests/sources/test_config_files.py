"""Where options come from beside the command line: the server's own files, and never this machine's for a container."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kvtop.domain.process import Container, Process
from kvtop.sources.engines import llamacpp, vllm
from kvtop.sources.processes.discovery import FoundProcess
from kvtop.sources.rights import reading
from kvtop.sources.rights.credentials import own_credentials
from kvtop.sources.server_files.config_files import CONFIG_FILE_BYTES, config_files

GONE = 1 << 30
"""No process has such a pid: what it would see cannot be reached."""


def server(
    *argv: str, pid: int | None = None, home: Path | None = None, started_at: float | None = None
) -> FoundProcess:
    number = os.getpid() if pid is None else pid
    process = Process(number, 1, argv[0], argv, cwd="/", started_at=time.time() if started_at is None else started_at)
    return FoundProcess(process, argv, {} if home is None else {"HOME": str(home)})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / ".config/llama.cpp/config.ini"
    path.parent.mkdir(parents=True)
    path.write_text("[*]\nctx-size = 1024\n")
    return tmp_path


def test_the_servers_own_file_is_read(home: Path) -> None:
    (found,) = [it for it in config_files(server("llama-server", home=home), llamacpp).texts if "1024" in it[1]]
    assert found[0] == f"{home}/.config/llama.cpp/config.ini"


def test_this_machines_file_is_not_a_containers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its root cannot be entered; the path of the same name here belongs to this machine."""
    monkeypatch.setattr(reading, "credentials_of", lambda *_: own_credentials())
    outside = server("llama-server", pid=GONE, home=home)
    assert any("1024" in text for _, text in config_files(outside, llamacpp).texts)
    inside = replace(outside, process=replace(outside.process, container=Container("docker", "ab" * 32)))
    assert not any("1024" in text for _, text in config_files(inside, llamacpp).texts)


def test_a_file_that_changed_since_the_start_says_so(home: Path) -> None:
    found = config_files(server("llama-server", home=home, started_at=time.time() - 3600), llamacpp)
    (failure,) = [it for it in found.failures if str(home) in it.message]
    assert "changed since the server started" in failure.message
    assert failure.source == f"pid {os.getpid()} configuration"
    assert not [
        it for it in config_files(server("llama-server", home=home), llamacpp).failures if str(home) in it.message
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), (b"\xff\xfe", "not UTF-8"), (b" " * (CONFIG_FILE_BYTES + 1), "too long")],
)
def test_a_named_file_that_cannot_be_read_is_a_failure(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    found = config_files(server("vllm", "serve", "--config", str(path)), vllm)
    assert found.texts == ()
    (failure,) = found.failures
    assert words in failure.message
    assert "options in it are unknown" in failure.message


def test_a_default_place_without_a_file_is_no_failure(tmp_path: Path) -> None:
    found = config_files(server("llama-server", home=tmp_path), llamacpp)
    assert not [it for it in found.failures if str(tmp_path) in it.message]
