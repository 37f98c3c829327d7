"""`kvtop quality`: the commands, a run with a recorded tool, and what is kept."""

import json
import shlex
import stat
from pathlib import Path

import pytest

from kvtop.app.plan.own_evidence import evidence_path
from kvtop.cli import main
from kvtop.planning.llamacpp.perplexity import PerplexityRun, chunks_done, rotation_of
from tests.models.tiny_gguf import write_tiny_gguf

FIXTURES = Path(__file__).parent / "fixtures" / "llama_perplexity"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("LLAMA_ATTN_ROT_DISABLE", raising=False)
    return write_tiny_gguf(tmp_path / "tiny.gguf")


def stand_in(folder: Path, script: str) -> str:
    """A server's program with a `llama-perplexity` beside it: the real one needs a build of llama.cpp."""
    folder.mkdir()
    for name in ("llama-server", "llama-perplexity"):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(folder / "llama-server")


RECORDED = f"""
case "$*" in
  *--version*) echo "version: 11434 (abc)" >&2 ;;
  *--kl-divergence\\ *|*--kl-divergence) cat {shlex.quote(str(FIXTURES / "q8_0.txt"))} ;;
  *) cat {shlex.quote(str(FIXTURES / "base.txt"))} ;;
esac
"""


def test_without_run_the_commands_are_printed(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = stand_in(tmp_path / "bin", "exit 9")
    words = (server, "-m", str(model), "-ngl", "7", "-ctk", "q8_0", "-ctv", "q4_0", "--api-key", "hunter2")
    assert main(["quality", "--", *words]) == 0
    captured = capsys.readouterr()
    base, pair = map(shlex.split, captured.out.splitlines())
    assert base[0] == pair[0] == str(tmp_path / "bin" / "llama-perplexity")
    assert "--kl-divergence" not in base
    assert pair[-5:] == ["-ctk", "q8_0", "-ctv", "q4_0", "--kl-divergence"]
    assert all(command[command.index("--n-gpu-layers") + 1] == "7" for command in (base, pair))
    assert all(command[command.index("-fa") + 1] == "on" for command in (base, pair))
    assert "hunter2" not in captured.out + captured.err


def test_a_run_is_kept_and_preferred(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server, text = stand_in(tmp_path / "bin", RECORDED), tmp_path / "text.txt"
    text.write_text("words " * 2000, encoding="utf-8")
    run = ("quality", "--run", "--text", str(text), "--context", "512", "--chunks", "2", "--", server, "-m", str(model))
    assert main(list(run)) == 0
    captured = capsys.readouterr()
    assert "q8_0/q8_0: 2 of 2" in captured.err
    assert "kl divergence 0.005539 nats/token ± 0.000354" in captured.out
    interval = "0.0048 to 0.0062 nats/token lies on both sides of 0.00546"
    assert f"q8_0/q8_0  inconclusive: {interval}; give more --chunks" in captured.out.splitlines()
    kept = json.loads(evidence_path({"XDG_DATA_HOME": str(tmp_path / "data")}).read_text())
    figures = {it["metric"]: it for it in kept["figure"]}
    assert {metric: it["value"] for metric, it in figures.items()} == {
        "kl_divergence": 0.005539,
        "same_top_token": 97.059,
        "ln_perplexity_ratio": 0.013691,
    }
    assert all(it["tier"] == "own" and it["rotation"] == "on" for it in figures.values())
    assert "words" not in json.dumps(kept)
    assert main(list(run)) == 0
    assert len(json.loads(evidence_path({"XDG_DATA_HOME": str(tmp_path / "data")}).read_text())["figure"]) == 3
    capsys.readouterr()
    assert main(["recommend", "--gpu", "none", "--", server, "-m", str(model)]) == 0
    assert "this model: kl divergence 0.005539" in capsys.readouterr().out
    assert not list(tmp_path.glob("kvtop-quality-*"))


def test_what_can_go_wrong(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server, text = stand_in(tmp_path / "bin", "echo oops >&2; exit 3"), tmp_path / "text.txt"
    text.write_text("words", encoding="utf-8")

    def fails(code: int, words: str, *arguments: str) -> None:
        assert main(["quality", *arguments]) == code
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error

    command = ("--", server, "-m", str(model))
    fails(2, "--text", "--run", *command)
    fails(2, "none.txt", "--run", "--text", str(tmp_path / "none.txt"), *command)
    fails(1, "oops", "--run", "--text", str(text), *command)
    fails(2, "no statistics", "--run", "--text", str(text), "--context", "64", "--chunks", "1", *command)
    fails(2, "no tool compares cache types of vllm", "--", "vllm", "serve", "/m")
    fails(3, "Unsupported cache type", *command, "-ctk", "q6_K")
    (tmp_path / "bin" / "llama-perplexity").unlink()
    fails(1, "llama-perplexity is neither beside", "--run", "--text", str(text), *command)
    short = stand_in(tmp_path / "short", "exit 0")
    fails(2, "too short", "--run", "--text", str(text), "--", short, "-m", str(model))


def test_a_file_that_cannot_be_believed_is_never_overwritten(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = evidence_path({"XDG_DATA_HOME": str(tmp_path / "data")})
    path.parent.mkdir(parents=True)
    path.write_text("{broken", encoding="utf-8")
    server, text = stand_in(tmp_path / "bin", RECORDED), tmp_path / "text.txt"
    text.write_text("words " * 2000, encoding="utf-8")
    command = ("--context", "512", "--chunks", "2", "--", server, "-m", str(model))
    assert main(["quality", "--run", "--text", str(text), *command]) == 2
    assert "quality.json" in capsys.readouterr().err
    assert path.read_text() == "{broken"


def test_progress_and_sizes() -> None:
    assert chunks_done((FIXTURES / "base.txt").read_text()) == 2
    assert chunks_done((FIXTURES / "q8_0.txt").read_text()) == 2
    assert chunks_done("") == 0
    # The file that the recorded base run left: 267,395,076 bytes for Gemma 3's 262,144 words.
    assert PerplexityRun("", "", "", 512, 2).base_bytes(262144) == 267_395_076


@pytest.mark.parametrize(
    ("setting", "lengths", "latent", "expected"),
    [(None, {128}, False, "on"), ("0", {64}, False, "on"), ("1", {128}, False, "off"), (None, {96}, False, "off"),
     (None, {576, 512}, True, "off"), (None, {128, 256}, False, "unknown")],
)  # fmt: skip
def test_rotation(setting: str | None, lengths: set[int], latent: bool, expected: str) -> None:
    assert rotation_of(setting, frozenset(lengths), latent) == expected
