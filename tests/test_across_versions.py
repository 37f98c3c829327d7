"""What an upgrade of the engine changes: `kvtop diff --engine-version A B`, `kvtop plan --across-versions`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kvtop.cli import main
from kvtop.verbs.command_line import exit_codes
from tests.oracle.recorded import recorded
from tools.record_oracle.llamacpp.gguf_file import write_gguf


@pytest.fixture
def gemma(tmp_path: Path) -> str:
    path = tmp_path / "gemma.gguf"
    write_gguf(path, recorded("llamacpp.json.gz")["models"]["gemma-3-270m"])
    return str(path)


def test_an_upgrade_names_the_rule_behind_each_difference(gemma: str) -> None:
    command = ["llama-server", "-m", gemma, "-np", "3", "-c", "9000", "-ngl", "99"]
    words = ["diff", "--gpu", "24GiB", "--engine-version", "b6123", "b11434", "--", *command]
    # It leaves without waiting for its threads, so that it needs a process of its own.
    done = subprocess.run([sys.executable, "-m", "kvtop", *words], capture_output=True, text=True, check=False)
    text = " ".join(done.stdout.split())
    assert done.returncode == exit_codes.FINDING, done.stderr
    assert "only the outputs asked for in the compute buffer: no → yes (n_outputs_max" in text
    assert "build llama.cpp b6123 → llama.cpp b11434" in text


def test_before_streams_a_window_was_as_large_as_the_context(gemma: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["llama-server", "-m", gemma, "-c", "9000", "-ngl", "99"]
    code = main(["plan", "--gpu", "24GiB", "--across-versions", "b5353,b5671", "--json", "--", *words])
    (found,) = json.loads(capsys.readouterr().out)
    assert code == exit_codes.OK
    cache = next(it for it in found["differences"] if it["what"] == "kv_cache")
    assert cache["b"] < cache["a"] / 2
    assert "#13194" in cache["cause"]


def test_an_option_that_came_later_is_refused_with_its_build(gemma: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["llama-server", "-m", gemma, "--n-cpu-moe", "4"]
    code = main(["plan", "--gpu", "24GiB", "--engine-version", "b5671", "--", *command])
    assert code == exit_codes.REFUSED
    assert "error: invalid argument: --n-cpu-moe (llama.cpp knows it from b6123 on)" in capsys.readouterr().err


def test_an_option_that_went_is_taken_by_the_builds_that_had_it(gemma: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["llama-server", "-m", gemma, "--no-mmap", "-c", "4096"]
    assert main(["plan", "--gpu", "24GiB", "--engine-version", "b8672", "--", *command]) == exit_codes.OK
    capsys.readouterr()
    assert main(["plan", "--gpu", "24GiB", "--engine-version", "b11434", "--", *command]) != exit_codes.OK


def test_one_version_is_no_comparison(gemma: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--across-versions", "b9760", "--", "llama-server", "-m", gemma]) == exit_codes.USAGE
    assert "two versions" in capsys.readouterr().err
