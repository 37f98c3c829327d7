"""`ollama run MODEL` as a command of kvtop's verbs: the model's manifest is read, the server it starts is planned."""

import hashlib
import json
from pathlib import Path

import pytest

from kvtop.cli import main
from tests.models.tiny_gguf import write_tiny_gguf


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ollama's folder of models with `tiny`, as `ollama create` lays it out."""
    folder = tmp_path / "models"
    (folder / "blobs").mkdir(parents=True)
    monkeypatch.setenv("OLLAMA_MODELS", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("OLLAMA_CONTEXT_LENGTH", "OLLAMA_NUM_PARALLEL", "OLLAMA_KV_CACHE_TYPE", "LLAMA_ARG_CTX_SIZE"):
        monkeypatch.delenv(name, raising=False)
    weights = write_tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
    layers = [("model", weights), ("params", json.dumps({"num_ctx": 2048, "stop": ["<end>"]}).encode())]
    manifest = {
        "config": {"digest": _blob(folder, json.dumps({"model_family": "llama"}).encode())},
        "layers": [
            {"mediaType": f"application/vnd.ollama.image.{part}", "digest": _blob(folder, content)}
            for part, content in layers
        ],
    }
    path = folder / "manifests/registry.ollama.ai/library/tiny/latest"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _blob(folder: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    (folder / "blobs" / f"sha256-{digest}").write_bytes(content)
    return f"sha256:{digest}"


def test_the_plan_is_that_of_the_server_it_starts(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu = ("--json", "--gpu", "8GiB", "--engine-version", "b11434", "--")
    assert main(["plan", *gpu, "OLLAMA_NUM_PARALLEL=2", "OLLAMA_KV_CACHE_TYPE=q8_0", "ollama", "run", "tiny"]) == 0
    planned = json.loads(capsys.readouterr().out)
    (blob,) = (it for it in (store / "blobs").iterdir() if it.stat().st_size > 1 << 20)
    words = [
        "-m",
        str(blob),
        "-c",
        "4096",
        "-np",
        "2",
        "-ctk",
        "q8_0",
        "-ctv",
        "q8_0",
        "-fa",
        "auto",
        "-b",
        "512",
        "-ub",
        "512",
    ]
    assert main(["plan", *gpu, "llama-server", *words]) == 0
    direct = json.loads(capsys.readouterr().out)
    assert planned["devices"] == direct["devices"]
    assert planned["context"] == direct["context"]
    assert any(note.startswith("Ollama starts: llama-server --model") for note in planned["notes"])


def test_the_version_of_ollama_chooses_the_build(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del store
    assert main(["plan", "--json", "--gpu", "8GiB", "--engine-version", "0.32.6", "--", "ollama", "run", "tiny"]) == 0
    notes = " ".join(json.loads(capsys.readouterr().out)["notes"])
    assert "planned for b10242, as Ollama 0.32.6 (--engine-version) says" in notes
    assert main(["plan", "--gpu", "8GiB", "--engine-version", "0.29.0", "--", "ollama", "run", "tiny"]) == 2
    assert "a runner of its own" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["plan", "lint", "recommend"])
def test_what_cannot_be_planned_says_why(store: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        ("serve", "name it"),
        ("run absent", "no such model in Ollama's store"),
        ("run ../x", "not a name"),
    ):
        assert main([verb, "--gpu", "8GiB", "--", "ollama", *words.split()]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    manifest = store / "manifests/registry.ollama.ai/library/tiny/latest"
    manifest.write_text("[]", encoding="utf-8")
    assert main([verb, "--gpu", "8GiB", "--", "ollama", "run", "tiny"]) == 2
    capsys.readouterr()


def test_lint_names_what_was_typed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del store
    assert main(["lint", "--gpu", "8GiB", "--", "ollama", "run", "tiny"]) in {0, 1}
    assert capsys.readouterr().out.startswith("ollama run tiny\n")


def test_a_recommendation_is_a_command_of_the_server(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del store
    assert main(["recommend", "--gpu", "8GiB", "--", "ollama", "run", "tiny"]) == 0
    assert "command  llama-server --model" in capsys.readouterr().out
