"""The recorder of real servers: what it keeps of a log, and how a model is cut down."""

import json
import sys
from pathlib import Path

import pytest

from tools.record_oracle import __main__ as program
from tools.record_oracle.llamacpp_wheels.cases import CASES, LAYERS, shortened
from tools.record_oracle.llamacpp_wheels.recorder import amounts
from tools.record_oracle.llamacpp_wheels.wheels import WHEELS, installed

_MEASURING = """\
llama_context: n_seq_max     = 1
llama_context: n_ctx         = 512
llama_kv_cache:        CPU KV buffer size =     1.00 MiB
"""
_LOG = """\
llama_context: n_seq_max     = 3
llama_context: n_ctx         = 3072
llama_context:        CPU  output buffer size =     3.00 MiB
llama_kv_cache:        CPU KV buffer size =     9.00 MiB
llama_kv_cache:        CPU KV buffer size =    45.00 MiB
llama_memory_recurrent:        CPU RS buffer size =     6.08 MiB
llama_context:        CPU compute buffer size =   514.50 MiB
"""


def test_the_last_context_of_a_log_counts() -> None:
    said = {"output": 3.0, "KV": 54.0, "RS": 6.08, "compute": 514.5, "n_ctx": 3072}
    assert amounts(_MEASURING + _LOG) == said
    assert amounts("nothing of it") == {"n_ctx": None}


def test_a_model_is_cut_to_its_first_layers() -> None:
    kv = {
        "general.architecture": ["str", "gemma4"],
        "gemma4.block_count": ["u32", 4],
        "gemma4.attention.sliding_window_pattern": ["arr:bool", [True, True, True, False]],
        "gemma4.rope.freq_base": ["f32", 1.0],
    }
    tensors = [["token_embd.weight", "f16", [2, 4], None], ["blk.{i}.attn_k.weight", "f16", [2, 2], [[0, 3]]]]
    found = shortened({"kv": kv, "tensors": [*tensors, ["blk.{i}.late", "f16", [2], [3]]]}, 2)
    assert found["kv"]["gemma4.block_count"] == ["u32", 2]
    assert found["kv"]["gemma4.attention.sliding_window_pattern"][1] == [True, True]
    assert kv["gemma4.block_count"] == ["u32", 4], "the recorded model stays"
    assert found["tensors"] == [
        ["token_embd.weight", "f16", [2, 4]],
        ["blk.{i}.attn_k.weight", "f16", [2, 2], [0, 1]],
    ]


def test_every_case_is_of_a_model_that_is_cut() -> None:
    assert {model for model, _ in CASES} == set(LAYERS)
    assert len(CASES) == len(set(CASES))


def test_a_build_without_a_wheel_is_refused_with_the_nearest() -> None:
    with pytest.raises(SystemExit, match="the nearest is b6900"):
        installed("b6850")
    assert json.dumps(sorted(WHEELS)) != "[]"


def test_only_names_a_fixture_with_its_ending_or_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []

    def record(version: str, fixtures: Path, only: tuple[str, ...], every: int, jobs: int) -> list[Path]:
        del version, fixtures, every, jobs
        asked.append(only)
        return []

    monkeypatch.setattr("tools.record_oracle.vllm.recorder.record", record)
    words = ["record_oracle", "--engine", "vllm", "--version", "0.32.0", "--fixtures", str(tmp_path), "--only"]
    monkeypatch.setattr(sys, "argv", [*words, "vllm_more.json.gz"])
    assert program.main() == 0
    assert asked == [("vllm_more",)]
    monkeypatch.setattr(sys, "argv", [*words, "vllm_mor"])
    with pytest.raises(SystemExit):
        program.main()
    assert "no such fixture; there are vllm, vllm_more" in capsys.readouterr().err
