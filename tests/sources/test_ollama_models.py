"""Ollama's names on the llama-servers that it started."""

import json
import os
from pathlib import Path

from kvtop.domain.engine_report import HostedModel
from kvtop.domain.process import Process
from kvtop.domain.server import ModelFacts, ServerReading, ServerState
from kvtop.sources.models.ollama_models import OllamaModels
from kvtop.sources.processes.discovery import FoundProcess

A, B = "a" * 64, "b" * 64
OLLAMA = os.getpid()
"""Its files are opened with its own rights, and this process has ours."""
BOTH = (HostedModel("llama3.2:3b", "loaded", expires_at=100.0), HostedModel("qwen3:8b", "loaded"))


def store(folder: Path) -> Path:
    for name, tag, digest in (("llama3.2", "3b", A), ("qwen3", "8b", B)):
        manifest = folder / "manifests" / "registry.ollama.ai" / "library" / name / tag
        manifest.parent.mkdir(parents=True)
        layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": 1}
        manifest.write_text(json.dumps({"layers": [layer]}), encoding="utf-8")
        (folder / "blobs").mkdir(exist_ok=True)
        (folder / "blobs" / f"sha256-{digest}").write_bytes(b"GGUF")
    return folder


def process(pid: int, ppid: int, environ: dict[str, str]) -> FoundProcess:
    return FoundProcess(Process(pid, ppid, "x", ("x",), environ=()), ("x",), environ)


def server(pid: int, digest: str) -> ServerReading:
    path = f"/models/blobs/sha256-{digest}"
    model = ModelFacts(name=path, path=path)
    return ServerReading(f"127.0.0.1:{pid}", "llama.cpp", ServerState.READY, pids=(pid,), model=model)


def ollama(hosted: tuple[HostedModel, ...]) -> ServerReading:
    return ServerReading("127.0.0.1:11434", "ollama", ServerState.READY, pids=(OLLAMA,), hosted=hosted)


def names(models: OllamaModels, readings: list[ServerReading], found: dict[int, FoundProcess]) -> list[str | None]:
    assert models.unknown(readings)
    models.learn(readings, found)
    assert not models.unknown(readings)
    return [reading.model.name for reading in models.named(readings, found)]


def test_a_name_comes_by_the_digest_in_its_manifest(tmp_path: Path) -> None:
    found = {pid: process(pid, ppid, {}) for pid, ppid in ((20, OLLAMA), (30, OLLAMA), (40, 1))}
    found[OLLAMA] = process(OLLAMA, 1, {"OLLAMA_MODELS": str(store(tmp_path))})
    models = OllamaModels()
    readings = [ollama(BOTH), server(20, B), server(30, A), server(40, A)]
    # The last one is another person's llama-server with the same file.
    assert names(models, readings, found) == [None, "qwen3:8b", "llama3.2:3b", f"/models/blobs/sha256-{A}"]
    assert [it.model.expires_at for it in models.named(readings, found)] == [None, None, 100.0, None]


def test_without_manifests_only_a_single_pair_is_certain(tmp_path: Path) -> None:
    environ = {"OLLAMA_MODELS": str(tmp_path / "closed"), "HOME": str(tmp_path)}
    found = {OLLAMA: process(OLLAMA, 1, environ), 20: process(20, OLLAMA, {})}
    assert names(OllamaModels(), [ollama(BOTH[:1]), server(20, B)], found) == [None, "llama3.2:3b"]
    found[30] = process(30, OLLAMA, {})
    unsure = [ollama(BOTH), server(20, B), server(30, A)]
    assert names(OllamaModels(), unsure, found)[1:] == [it.model.path for it in unsure[1:]]


def test_a_single_model_with_another_digest_is_another_model(tmp_path: Path) -> None:
    found = {OLLAMA: process(OLLAMA, 1, {"OLLAMA_MODELS": str(store(tmp_path))}), 20: process(20, OLLAMA, {})}
    assert names(OllamaModels(), [ollama(BOTH[:1]), server(20, B)], found)[1] == f"/models/blobs/sha256-{B}"
