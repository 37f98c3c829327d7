"""Options as the engine's own parser takes them: dotted short names, objects with unknown fields, connectors."""

import json
from typing import Any

import pytest

from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint, CheckpointTensor
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.planning.vllm.planner import plan_command
from tests.oracle.recorded import recorded

GIB = 2**30
_GPT_OSS: dict[str, Any] = recorded("vllm_parameters.json.gz")["openai/gpt-oss-20b"]["config"]
_QWEN: dict[str, Any] = recorded("vllm_parameters.json.gz")["Qwen/Qwen3-8B"]["config"]
_GLM: dict[str, Any] = recorded("vllm_parameters.json.gz")["zai-org/GLM-5.2"]["config"]


def _plan(config: dict[str, Any], *words: str, ranks: int = 1) -> MemoryPlan | Refusal:
    cards = tuple(PlanDevice(f"gpu{at}", 80 * GIB, None, (9, 0), "cuda", "H100") for at in range(ranks))
    return plan_command(["DIR", "--kv-cache-memory-bytes", "20G", *words], Checkpoint("DIR", config, (), None), cards)


def _tokens(plan: MemoryPlan | Refusal) -> int:
    assert isinstance(plan, MemoryPlan), plan
    assert plan.vllm is not None
    return plan.vllm.kv_cache_tokens or 0


@pytest.mark.parametrize(
    ("word", "option", "value"),
    [
        ("-cc.mode=3", "compilation-config", {"mode": 3}),
        ("-O.mode=3", "compilation-config", {"mode": 3}),
        ("-cc.pass_config.fuse_act_quant=true", "compilation-config", {"pass_config": {"fuse_act_quant": True}}),
        ("-ac.backend=FLASHINFER", "attention-config", {"backend": "FLASHINFER"}),
    ],
)
def test_a_dotted_short_name_is_a_part_of_its_option(word: str, option: str, value: object) -> None:
    options = parse_serve_options(["DIR", word])
    assert not options.errors
    assert json.loads(options.value(option) or "") == value


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"mode":3,"pass_config":{"fuse_minimax_qk_norm":true}}', "pass_config.fuse_minimax_qk_norm"),
        ('{"use_inductor": false}', "use_inductor"),
    ],
)
def test_a_field_that_the_class_does_not_have_is_refused_line_by_line(text: str, field: str) -> None:
    plan = _plan(_QWEN, "--compilation-config", text)
    assert isinstance(plan, Refusal)
    first, second, third, _ = plan.message.split("\n")
    assert first == "1 validation error for CompilationConfig"
    assert second == field
    assert third.startswith("  Unexpected keyword argument [type=unexpected_keyword_argument, input_value=")


def test_a_connector_that_cannot_keep_groups_keeps_windows_whole() -> None:
    def transfer(name: str) -> str:
        return json.dumps({"kv_connector": name, "kv_role": "kv_both"})

    plain = _tokens(_plan(_GPT_OSS, "--max-model-len", "131072"))
    kept = _plan(_GPT_OSS, "--max-model-len", "131072", "--kv-transfer-config", transfer("NixlConnector"))
    whole = _plan(_GPT_OSS, "--max-model-len", "131072", "--kv-transfer-config", transfer("LMCacheConnectorV1"))
    asked = _plan(_GPT_OSS, "--max-model-len", "131072", "--disable-hybrid-kv-cache-manager")
    assert _tokens(kept) == plain
    assert _tokens(whole) == _tokens(asked) < plain
    assert isinstance(whole, MemoryPlan)
    assert any("LMCacheConnectorV1" in warning for warning in whole.warnings)


def test_a_connector_changes_nothing_where_layers_are_alike() -> None:
    transfer = '{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}'
    assert _tokens(_plan(_QWEN, "--kv-transfer-config", transfer)) == _tokens(_plan(_QWEN))


def test_a_backend_of_another_platform_makes_an_estimate() -> None:
    plan = _plan(_QWEN, "--attention-backend", "ROCM_AITER_FA")
    assert isinstance(plan, MemoryPlan)
    assert plan.devices[0].memory[Segment.KV_CACHE].basis is Basis.ESTIMATED


def test_an_indexer_on_a_part_of_the_layers_is_counted_so() -> None:
    plan = _plan(_GLM, "-tp", "8", "--max-model-len", "32768", "--kv-cache-dtype", "fp8", ranks=8)
    assert isinstance(plan, MemoryPlan)
    assert plan.vllm is not None
    assert plan.vllm.bytes_per_token_per_rank == 78 * 656 + 21 * 132


@pytest.mark.parametrize(
    "field", [{"index_share_every": 4}, {"kv_compress_ratio": 2}, {"sparse_window_layers": [1, 2]}, {"swa_stride": 2}]
)
def test_a_field_that_may_change_the_cache_and_is_not_known_is_no_number(field: dict[str, Any]) -> None:
    with pytest.raises(NoExactRuleError, match=next(iter(field))):
        _plan({**_QWEN, **field})


@pytest.mark.parametrize(
    "field", [{"cache_implementation": "hybrid"}, {"image_token_index": 3}, {"index_stride": None}]
)
def test_a_field_that_cannot_change_it_is_passed_over(field: dict[str, Any]) -> None:
    assert _tokens(_plan({**_QWEN, **field})) == _tokens(_plan(_QWEN))


_GONE = [["--disable-log-requests"], ["--swap-space", "4"], ["--guided-decoding-backend", "xgrammar"]]


@pytest.mark.parametrize("words", _GONE)
def test_an_option_that_is_gone_is_taken_by_older_versions_alone(words: list[str]) -> None:
    assert not parse_serve_options(["DIR", *words], version="0.9.1").errors
    assert parse_serve_options(["DIR", *words], version="0.32.0").errors
    assert parse_serve_options(["DIR", *words]).errors


def test_experts_that_are_padded_are_not_the_files_bytes() -> None:
    """vLLM loads 64.4 GiB of the 60.8 that the files of gpt-oss-120b have (llm-d, one H100)."""
    config = recorded("vllm_parameters.json.gz")["openai/gpt-oss-120b"]["config"]
    stored = CheckpointTensor("model.layers.0.mlp.experts.gate_up_proj_blocks", "U8", (1,), int(60.8 * GIB))
    card = PlanDevice("gpu0", 80 * GIB, None, (9, 0), "cuda", "H100")
    plan = plan_command(["DIR"], Checkpoint("DIR", config, (stored,), stored.size_bytes), (card,))
    assert isinstance(plan, MemoryPlan)
    weights = plan.devices[0].memory[Segment.WEIGHTS]
    assert weights.least_bytes < 64.38 * GIB < (weights.most_bytes or 0)
    assert weights.basis is Basis.ESTIMATED
