"""Plans of mlx_lm.server against what mlx-lm itself allocates or raises."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.model_file import Checkpoint, CheckpointTensor
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, Refusal
from kvtop.planning.mlx.planner import plan_command
from tests.oracle.every_case import Answer, EveryCase, grouped
from tests.oracle.recorded import numbered, recorded

Row = Mapping[str, Any]
Ask = Callable[[Mapping[str, object], Row], MemoryPlan | Refusal]
LLAMA = {
    "model_type": "llama",
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
LLAMA_ROW_BYTES = 2 * 2 * 2 * 64 * 2


def _by_model(name: str) -> dict[str, dict[str, Row]]:
    rows = recorded(name)["rows"]
    return grouped((row["id"], made, row) for row, made in zip(rows, numbered(row["id"] for row in rows), strict=True))


_GIVEN, _MORE = _by_model("mlx.json.gz"), _by_model("mlx_more.json.gz")


def _answers(config: Mapping[str, object], row: Row, ask: Ask) -> Iterator[Answer]:
    answer = ask(config, row)
    if isinstance(answer, Refusal):
        yield "refusal", answer.message, row.get("error")
        return
    (host,) = answer.devices
    assert host.name == "host"
    yield "kept bytes", host.memory.bytes_of(*CACHES), row["expected_bytes"]
    peak = re.search(r"\((\d+) bytes\)", answer.steps[0].text)
    yield "peak bytes", peak and int(peak[1]), row.get("peak_during_prefill_bytes")


@pytest.mark.parametrize("model", _GIVEN)
def test_a_given_row_is_exact(model: str, ask: Ask, every_case: EveryCase) -> None:
    config = recorded("mlx.json.gz")["configs"][model]
    every_case(_GIVEN[model], lambda row: _answers(config, row, ask))


@pytest.mark.parametrize("model", _MORE)
def test_other_model_types_are_exact(model: str, ask: Ask, every_case: EveryCase) -> None:
    config = recorded("mlx_more.json.gz")["configs"][model]
    every_case(_MORE[model], lambda row: _answers(config, row, ask))


def test_the_recordings_are_as_large_as_they_were() -> None:
    assert len(recorded("mlx.json.gz")["rows"]) == 86
    assert len(recorded("mlx_more.json.gz")["configs"]) > 40


def _plan(
    words: list[str],
    at_tokens: int | None = None,
    config: Mapping[str, object] = LLAMA,
    tensors: tuple[CheckpointTensor, ...] = (),
) -> MemoryPlan:
    answer = plan_command(words, Checkpoint("/m", config, tensors, None), at_tokens)
    assert isinstance(answer, MemoryPlan)
    return answer


def test_without_a_length_the_trained_one_counts() -> None:
    assert _plan([]).devices[0].memory.bytes_of(Segment.KV_CACHE) == 1024 * LLAMA_ROW_BYTES


def test_weights_are_unknown_without_tensors() -> None:
    assert _plan([]).devices[0].memory.bytes_of(Segment.WEIGHTS) is None


def test_float32_weights_double_the_rows() -> None:
    tensor = CheckpointTensor("model.embed_tokens.weight", "F32", (512, 256), 512 * 256 * 4)
    assert _plan([], 100, tensors=(tensor,)).devices[0].memory.bytes_of(Segment.KV_CACHE) == 2 * 256 * LLAMA_ROW_BYTES


def test_kv_bits_below_the_start_is_said_to_do_nothing() -> None:
    plan = _plan(["--kv-b=8"], 1000)
    assert plan.devices[0].memory.bytes_of(Segment.KV_CACHE) == 1024 * LLAMA_ROW_BYTES
    assert any("--quantized-kv-start is 5000" in warning for warning in plan.warnings)


@pytest.mark.parametrize("config", [{"model_type": "nobody"}, {}, {**LLAMA, "hidden_size": None}])
def test_unknown_models_get_no_number(config: Mapping[str, object]) -> None:
    with pytest.raises(NoExactRuleError):
        plan_command([], Checkpoint("/m", config, (), None), 100)


def test_a_draft_model_gets_no_number() -> None:
    with pytest.raises(NoExactRuleError, match="draft-model"):
        plan_command(["--draft-model", "d"], Checkpoint("/m", LLAMA, (), None), 100)


@pytest.mark.parametrize("words", [[], ["--kv-bits", "8"], ["--kv-bits", "8", "--quantized-kv-start", "0"]])
@pytest.mark.parametrize("tokens", [1, 255, 256, 257, 2047, 2048, 2049, 5001])
def test_what_is_kept_is_never_more_than_the_peak(words: list[str], tokens: int) -> None:
    plan = _plan(words, tokens)
    peak = re.search(r"\((\d+) bytes\)", plan.steps[0].text)
    assert peak is not None
    assert 0 < (plan.devices[0].memory.bytes_of(Segment.KV_CACHE) or 0) <= int(peak[1])
