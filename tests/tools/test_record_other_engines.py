"""The recorders of vLLM and mlx-lm, and the comparison of two versions: what is written of an engine's answer."""

from pathlib import Path
from typing import Any

import pytest

from tools.record_oracle import canonical, differences
from tools.record_oracle.mlx.recorder import rows_with
from tools.record_oracle.vllm import recorder as vllm
from tools.record_oracle.vllm.standin import CARDS

ORACLE = Path(__file__).parents[1] / "fixtures" / "oracle"

_ANSWER: dict[str, Any] = {
    "num_blocks": 10,
    "block_size": 16,
    "kv_tokens": 160,
    "max_concurrency": 2.5,
    "backends": ["FLASH_ATTN"],
    "bytes_per_block": [64, 32],
    "allocated_bytes": [640, 320],
    "bytes_per_token": [4.0, 2.0],
    "state_bytes": [0, 0],
    "groups": [{"block_size": 16, "blocks_per_request_at_max_len": 4, "kind": "SlidingWindowSpec", "n_layers": 3}],
    "layout": "LBNHC",
    "replicas": 1,
    "weights": [1000, 900],
    "max_num_batched_tokens": 8192,
    "max_num_seqs": 1024,
    "max_in_flight_tokens": 16384,
    "async_scheduling": True,
    "cache_dtype": "fp8",
}
_ROW: dict[str, Any] = {
    "id": "one",
    "model": "m",
    "gpu": "cc9.0",
    "tp": 2,
    "pp": 2,
    "dcp": 1,
    "kv_dtype": "fp8",
    "block_size_arg": 32,
    "max_model_len": 64,
    "enable_prefix_caching": True,
    "extra_args": {"async_scheduling": False},
    "available_bytes": 700,
}


def test_a_vllm_case_is_asked_with_its_own_options_and_written_with_what_was_resolved() -> None:
    recorded = {"cases": [_ROW], "refused": [], "configs": {"m": {"layers": 1}}}
    (case,) = vllm.cases_of("vllm", recorded)
    assert case["options"] == {
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 2,
        "decode_context_parallel_size": 1,
        "kv_cache_dtype": "fp8",
        "max_model_len": 64,
        "enable_prefix_caching": True,
        "async_scheduling": False,
        "block_size": 32,
    }
    assert (case["config"], case["card"], case["available_bytes"]) == ({"layers": 1}, "cc9.0", 700)
    (written,) = vllm.answered("vllm", recorded, {case["name"]: _ANSWER})["cases"]
    assert {key: written[key] for key in _ROW} == _ROW
    assert written["max_in_flight_tokens"] == 16384
    expected = written["expected"]
    assert expected["allocated_bytes_per_rank"] == [640, 320]  # one a stage
    assert expected["groups"][0]["kind"] == "sliding_window"
    assert expected["weights_bytes_per_rank"] == 1000


def test_a_single_stage_is_a_number_and_no_list() -> None:
    answer = {**_ANSWER, "bytes_per_block": [64], "allocated_bytes": [640]}
    (written,) = vllm.answered("vllm", {"cases": [_ROW]}, {"0": answer})["cases"]
    assert written["expected"]["pool_bytes_per_block_per_rank"] == 64


def test_a_refusal_is_vllm_s_sentence_without_pydantic_s_frame() -> None:
    said = "1 validation error for VllmConfig\n  Value error, it cannot be [type=value_error, input_value=x]\n  For …"
    refusal = {"error": said, "error_type": "ValidationError"}
    recorded = {"cases": [{"expected": None}], "refused": [_ROW, _ROW]}
    renewed = vllm.answered("vllm", recorded, {"0": refusal, "1": refusal, "2": _ANSWER})
    assert renewed["cases"][0]["expected"] == {"error": "it cannot be"}
    assert renewed["refused"][0]["error"] == f"ValidationError: {said}"
    assert renewed["refused"][1]["error"] is None  # what another version takes


@pytest.mark.parametrize("name", ["vllm", "vllm_more"])
def test_every_recorded_vllm_case_can_be_asked(name: str) -> None:
    recorded = canonical.read(ORACLE / f"{name}.json.gz")
    cases = vllm.cases_of(name, recorded)
    assert len(cases) == len(recorded["cases"]) + len(recorded.get("refused", []))
    assert {case["card"] for case in cases} <= CARDS.keys()


def test_an_mlx_row_keeps_its_question_and_a_refused_one_its_peak_only_where_asked() -> None:
    row = {"id": "m", "ctx": 5, "expected_bytes": 1, "peak_during_prefill_bytes": 2}
    refused = {"expected_bytes": None, "peak_during_prefill_bytes": 0, "error": "ValueError: no"}
    silent = {"id": "m", "ctx": 6, "expected_bytes": None, "error": "ValueError: old"}
    first, second, third = rows_with(
        [row, row, silent], [{"expected_bytes": 8, "peak_during_prefill_bytes": 9}, refused, refused]
    )
    assert first == {"id": "m", "ctx": 5, "expected_bytes": 8, "peak_during_prefill_bytes": 9}
    assert second == {"id": "m", "ctx": 5, **refused}
    assert third == {"id": "m", "ctx": 6, "expected_bytes": None, "error": "ValueError: no"}


def _case(model: str, weights: int, n_ctx: int = 4096) -> dict[str, Any]:
    by_device = {"gpu0": {"weights": weights, "kv": 1, "compute": 2}, "host": {"weights": 0, "kv": 0, "compute": 3}}
    expected = {"by_device": by_device}
    return {"id": model, "model": model, "flags": [], "resolved": {"n_ctx": n_ctx}, "expected": expected}


def test_two_versions_are_compared_part_by_part() -> None:
    refused = {"id": "c", "model": "c", "flags": [], "expected": {"error": ["no such architecture"]}}
    newest = {"cases": [_case("a", 10), _case("b", 10), _case("c", 10), ["d", 1, [], {"gpu0": [1, 2, 3]}]]}
    other = {"cases": [_case("a", 10), _case("b", 12, 8192), refused, ["d", 1, [], {"gpu0": [1, 2, 4]}]]}
    rows = [row[1:] for row in differences.differing(newest, other)]
    assert rows == [
        ("b", "n_ctx", 4096, 8192),
        ("b", "weights (card)", 10, 12),
        ("c", "refused", "no", "no such architecture"),
        ("d", "compute (card)", 3, 4),
    ]
    text = differences.report(newest, other)
    assert text.startswith("3 of 4 cases differ")
    assert "weights (card): 1 cases of 1 models (b)" in text
    assert differences.report(newest, newest) == "0 of 4 cases differ"


def test_every_other_version_answers_the_newest_one_s_cases() -> None:
    paths = sorted(ORACLE.glob("*/*/*.json.gz"))
    assert paths
    for path in paths:
        other = canonical.read(path)
        newest = canonical.thinned(canonical.read(ORACLE / path.name), other.get("every", 1))
        assert "cases differ" in differences.report(newest, other), path
        for key in ("model", "flags", "options", "settings", "gpu"):
            ours = [case.get(key) for case in newest["cases"] if isinstance(case, dict)]
            assert ours == [case.get(key) for case in other["cases"] if isinstance(case, dict)], path
