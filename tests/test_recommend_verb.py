"""`kvtop recommend` from the command line to text, JSON and exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

from kvtop.cli import main
from tests.models.recorded_gguf import write_recorded
from tests.models.tiny_gguf import write_tiny_gguf
from tests.oracle.cases import MORE_MODELS


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("LLAMA_ARG_CTX_SIZE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return write_tiny_gguf(tmp_path / "tiny.gguf")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["recommend", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, _ = run(capsys, "--json", *words)
    assert code == 0
    value: dict[str, Any] = json.loads(out)
    return value


def test_json_keeps_the_contract_and_agrees_with_plan(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, "--gpu", "4GiB", "--context", "4k", "--users", "2", "--", "llama-server", "-m", str(model))
    assert found["schema"] == "kvtop.recommend/1"
    assert found["wish"] == {"context_tokens": 4096, "users": 2, "prefer": "quality"}
    for item in found["recommendations"]:
        assert main(["plan", "--json", "--gpu", "4GiB", "--", item["command"]]) == 0
        planned = json.loads(capsys.readouterr().out)
        for device in item["devices"]:
            (part,) = [it for it in planned["devices"] if it["name"] == device["name"]]
            exact = part["weights_bytes"] + part["kv_cache_bytes"] + part["output_bytes"]
            assert device["needed_bytes"]["value"] == exact + part["compute_bytes"]["value"]
        assert planned["context"]["n_ctx_seq"] == item["sequence_tokens"] == 4096


@pytest.mark.usefixtures("model")
def test_a_mixture_larger_than_the_card_is_placed_and_agrees_with_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = write_recorded(tmp_path / "gpt-oss-120b.gguf", "gpt-oss-120b", fixture=MORE_MODELS, experts="mxfp4")
    command = ("--gpu", "24GiB", "--context", "32k", "--", "llama-server", "-m", str(large))
    code, out, _ = run(capsys, *command)
    assert code == 0
    assert "layers on the host" in out
    assert "estimated tokens/s" in out
    assert run(capsys, "--host", "16GiB", *command)[0] == 1
    assert main(["plan", "--gpu", "24GiB", "--host", "16GiB", "--", "llama-server", "-m", str(large)]) == 1
    assert "of 16.0 GiB" in capsys.readouterr().out
    found = as_json(capsys, "--host", "64GiB", *command)
    for item in found["recommendations"]:
        assert {it["name"]: it["room_bytes"] for it in item["devices"]}["host"] == 64 * 2**30
        assert main(["plan", "--json", "--gpu", "24GiB", "--host", "64GiB", "--", item["command"]]) == 0
        planned = json.loads(capsys.readouterr().out)
        assert planned["context"]["n_ctx_seq"] == item["sequence_tokens"] == 32768
        needed = {it["name"]: it["needed_bytes"]["value"] for it in item["devices"]}
        for part in planned["devices"]:
            exact = part["weights_bytes"] + part["kv_cache_bytes"] + part["output_bytes"]
            assert needed[part["name"]] == exact + part["compute_bytes"]["value"]
        assert [it["at_tokens"] for it in item["decode"]] == [1024, 32768]
        assert all(it["tokens_per_second"]["low"] < it["tokens_per_second"]["high"] for it in item["decode"])


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {key for key in value if "-" not in key}
        return own.union(*(_keys(it) for key, it in value.items() if key not in {"changes", "measurements", "claims"}))
    return set().union(*(_keys(it) for it in value)) if isinstance(value, list) else set()


def test_the_page_names_every_key_of_both_schemas(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "what_if.md").read_text(encoding="utf-8")
    command = ("--", "llama-server", "-m", str(model))
    assert main(["plan", "--frontier", "--json", "--gpu", "4GiB", *command]) == 0
    frontier = json.loads(capsys.readouterr().out)
    recommended = as_json(capsys, "--gpu", "4GiB", *command)
    for document in (frontier, recommended):
        assert document["schema"] in page
        assert not {key for key in _keys(document) - {"schema"} if f"`{key}`" not in page and f"`{key}[]`" not in page}


def test_options_may_stand_on_either_side_of_the_command(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("llama-server", "-m", str(model))
    before = run(capsys, "--gpu", "4GiB", "--context", "4k", "--", *command)
    assert before[0] == 0
    quoted = run(capsys, "--gpu", "4GiB", "--context", "4k", "--", " ".join(command))
    assert quoted == before


def test_secrets_do_not_reach_the_screen(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, "--gpu", "4GiB", "--context", "2k", "--", "llama-server", "-m", str(model), "--api-key", "hunter2"
    )
    assert code == 0
    assert "hunter2" not in out + err
    assert "'***'" in out


def test_what_was_measured_here_is_preferred(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figure = {
        "model": "Tiny 1B", "architectures": ["llama"], "type_k": "q8_0", "type_v": "q8_0", "rotation": "on",
        "metric": "kl_divergence", "value": 0.0042, "unit": "nats/token", "source": "kvtop quality", "year": 2026,
        "tier": "own",
    }  # fmt: skip
    path = tmp_path / "data" / "kvtop" / "quality.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"figure": [figure]}))
    _, out, _ = run(capsys, "--gpu", "none", "--", "llama-server", "-m", str(model))
    assert "this model: kl divergence 0.0042 nats/token" in out
    path.write_text(json.dumps({"figure": [figure | {"tier": "primary"}]}))
    _, out, _ = run(capsys, "--gpu", "none", "--", "llama-server", "-m", str(model))
    assert "0.0042" not in out
    assert "own measurements are left out" in out


def test_what_the_environment_says_is_said_otherwise_in_the_command(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A type that a variable gives cannot be taken out of the command: it would still be in force."""
    monkeypatch.setenv("LLAMA_ARG_CACHE_TYPE_K", "q4_0")
    monkeypatch.setenv("LLAMA_ARG_CACHE_TYPE_V", "q4_0")
    found = as_json(capsys, "--gpu", "4GiB", "--context", "4k", "--", "llama-server", "-m", str(model))
    assert found["recommendations"][0]["cache"] == "f16/f16"
    for item in found["recommendations"]:
        assert main(["plan", "--json", "--gpu", "4GiB", "--", item["command"]]) == 0
        types = json.loads(capsys.readouterr().out)["cache_types"]
        assert f"{types['k']}/{types['v']}" == item["cache"]
    monkeypatch.delenv("LLAMA_ARG_CACHE_TYPE_K")
    monkeypatch.delenv("LLAMA_ARG_CACHE_TYPE_V")
    typed = as_json(capsys, "--gpu", "4GiB", "--", "llama-server", "-m", str(model), "-ctk", "q4_0", "-ctv", "q4_0")
    assert "cache-type" not in typed["recommendations"][0]["command"]


def test_a_cache_that_saves_nothing_is_not_offered_for_what_a_smaller_batch_saves(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On CUDA a quantized cache of two layers needs an f16 copy of one of them: all that it saves, and more."""
    found = as_json(capsys, "--gpu", "4GiB", "--", "llama-server", "-m", str(model))
    assert [item["cache"] for item in found["recommendations"]] == ["f16/f16", "f16/f16"]
    assert found["recommendations"][1]["changes"] == {"ubatch-size": "256"}
    assert "q8_0/q8_0: takes no less than the same without quantization" in found["left_out"]
    assert any("needing less of them" in note for note in found["notes"])


def test_exit_codes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("llama-server", "-m", str(model))
    assert run(capsys, "--gpu", "700MiB", "--users", "4", "--context", "8k", "--", *command)[0] == 0
    assert run(capsys, "--gpu", "1MiB", "--", *command)[0] == 1
    assert run(capsys, "--gpu", "4GiB", "--", "llama-server", "-m", "/nowhere.gguf")[0] == 2
    assert run(capsys, "--gpu", "4GiB", "--", "nginx")[0] == 2
    code, _, err = run(capsys, "--gpu", "4GiB", "--", *command, "-ctv", "q8_0", "-fa", "off")
    assert code == 3
    assert "quantized V cache" in err
    for word in ("--users=0", "--context=x"):
        with pytest.raises(SystemExit, match="2"):
            main(["recommend", word, "--", *command])


def test_no_sequence_is_longer_than_the_engine_allows(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """llama-server caps a slot at the trained context, as `kvtop lint` says (context-beyond-training)."""
    found = as_json(capsys, "--gpu", "4GiB", "--context", "64k", "--", "llama-server", "-m", str(model))
    assert {item["sequence_tokens"] for item in found["recommendations"]} == {8192}
    assert found["notes"][0] == "65536 tokens were asked for; llama-server caps a sequence at the 8192 trained ones"
