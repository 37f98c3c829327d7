"""`kvtop plan` of a llama-server that `--fit` changes: the plan is the one after it, what was asked is beside it."""

import json
from pathlib import Path
from typing import Any

import pytest

from kvtop.cli import main
from tests.models.recorded_gguf import write_recorded

MIB = 2**20


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("LLAMA_ARG_CTX_SIZE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recorded(tmp_path_factory.mktemp("models") / "gpt-oss-20b.gguf", "gpt-oss-20b")


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recorded(tmp_path_factory.mktemp("models") / "llama-3.1-8b.gguf", "llama-3.1-8b")


def _plan(capsys: pytest.CaptureFixture[str], *words: str, exits: int | None = 0) -> str:
    code = main(["plan", *words])
    assert exits is None or code == exits
    return capsys.readouterr().out


def _json(capsys: pytest.CaptureFixture[str], *words: str, exits: int | None = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_plan(capsys, "--json", *words, exits=exits))
    return found


def test_the_plan_is_the_one_after_the_fit(mixture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As b11434 itself answers on a card of which 11500 MiB are free."""
    found = _json(capsys, "--gpu", "12GiB,cc=8.9,free=11500MiB", "--", "llama-server", "-m", str(mixture))
    fit = found["fit"]
    assert (fit["applied"], fit["reason"]) == (True, None)
    assert (fit["n_ctx"], fit["n_ctx_seq"], fit["n_gpu_layers"], fit["tensor_split"]) == (4096, 4096, 25, [])
    assert fit["overrides"][0] == [r"blk\.22\.ffn_(gate|up|gate_up|down).*", "CPU"]
    assert (fit["margin_kept"], fit["within_free"]) == (True, True)
    assert found["context"]["n_ctx"] == 4096
    assert found["devices"][0]["available_bytes"] == 11500 * MIB
    assert found["devices"][0]["fit"] == "fits"
    assert found["asked"]["context"]["n_ctx"] == 131072
    assert found["asked"]["devices"][0]["fit"] == "does not fit"
    assert found["asked"]["devices"][0]["kv_cache_bytes"] > found["devices"][0]["kv_cache_bytes"]


@pytest.mark.parametrize(
    "specs",
    [("12GiB,free=11500MiB",), ("8GiB,free=7500MiB", "6GiB,free=5500MiB"), ("4GiB", "3GiB", "6GiB,free=5GiB", "4GiB")],
    ids=["one card", "two cards", "four cards"],
)
def test_the_flags_that_pin_it_plan_the_same(
    mixture: Path, capsys: pytest.CaptureFixture[str], specs: tuple[str, ...]
) -> None:
    cards = [word for spec in specs for word in ("--gpu", spec)]
    command = ("--", "llama-server", "-m", str(mixture))
    fitted = _json(capsys, *cards, *command, exits=None)
    assert fitted["fit"]["change"]
    pinned = _json(capsys, *cards, *command, *fitted["fit"]["flags"], exits=None)
    assert pinned["fit"]["reason"] == "--fit is off"
    assert pinned["asked"] is None
    assert (pinned["devices"], pinned["context"]) == (fitted["devices"], fitted["context"])


def test_text_says_what_becomes_of_it(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = _plan(capsys, "--gpu", "6GiB,free=5500MiB", "--", "llama-server", "-m", str(dense))
    joined = " ".join(text.split())
    assert "--fit: 29 of 33 layers on gpu0, context 131072 → 4096" in joined
    assert "asked for: 131072 cells; 20.5 GiB of 5.37 GiB on gpu0 (does not fit)" in joined
    assert "pinned by: -c 4096 -ngl 29 -fit off" in joined
    assert max(map(len, text.splitlines())) <= 80


def test_nothing_is_said_where_nothing_changes(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--gpu", "48GiB", "--", "llama-server", "-m", str(dense))
    found = _json(capsys, *command)
    assert (found["fit"]["applied"], found["fit"]["change"], found["asked"]) == (True, None, None)
    assert "fit:" not in _plan(capsys, *command)


def test_what_fit_may_not_change_is_loaded_as_it_stands(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--gpu", "4GiB", "--", "llama-server", "-m", str(dense), "-ngl", "99", "-np", "1")
    found = _json(capsys, *command, exits=1)
    assert found["fit"]["reason"] == "n_gpu_layers already set by user to 99"
    assert (found["fit"]["applied"], found["fit"]["within_free"]) == (False, False)
    # The context was cut before the engine gave up, and stays cut.
    assert found["context"]["n_ctx"] == 4096
    assert "gives up (n_gpu_layers already set by user to 99)" in " ".join(_plan(capsys, *command, exits=1).split())


def test_the_order_of_two_options_decides(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--gpu", "12GiB,free=11500MiB", "--", "llama-server", "-m", str(dense))
    assert _json(capsys, *command, "-c", "0", "-fitc", "8192")["context"]["n_ctx"] == 47104
    pinned = _json(capsys, *command, "-fitc", "8192", "-c", "0")
    assert (pinned["context"]["n_ctx"], pinned["fit"]["n_gpu_layers"]) == (131072, 15)


def test_no_layers_on_two_full_cards_end_the_process(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cards = ("--gpu", "3GiB,free=100MiB", "--gpu", "3GiB,free=100MiB")
    found = _json(capsys, *cards, "--", "llama-server", "-m", str(dense), "-ngl", "0", exits=3)
    assert "SIGFPE" in found["error"]["message"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [("8GiB,free=9GiB", "more is free than there is"), ("8GiB,free=much", "free= takes a size with its unit")],
    ids=["more than all", "no size"],
)
def test_what_is_free_must_make_sense(dense: Path, capsys: pytest.CaptureFixture[str], spec: str, words: str) -> None:
    assert main(["plan", "--gpu", spec, "--", "llama-server", "-m", str(dense)]) == 2
    assert words in capsys.readouterr().err
