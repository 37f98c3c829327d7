"""Drafts with layers of their own: blocks and tokens as vLLM's planner decides them, and what public logs said."""

import json
from typing import Any

import pytest

from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.vllm.planner import plan_command
from tests.oracle.recorded import recorded

GIB = 2**30
_DRAFTS = recorded("vllm_drafts.json.gz")
_CASES = _DRAFTS["cases"]
_CONFIGS = recorded("vllm_parameters.json.gz")
_LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
}  # fmt: skip


def _plan(config: dict[str, Any], words: list[str], ranks: int = 1) -> MemoryPlan | Refusal:
    cards = tuple(
        PlanDevice(f"gpu{at}", 80 * GIB, None, (9, 0), "cuda", "NVIDIA H100 80GB HBM3") for at in range(ranks)
    )
    return plan_command(["DIR", *words], Checkpoint("DIR", config, (), None), cards)


def _words(case: dict[str, Any]) -> list[str]:
    words = ["--kv-cache-memory-bytes", str(case["available_bytes"])]
    for name, value in case["options"].items():
        words += [f"--{name.replace('_', '-')}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return words


@pytest.mark.parametrize("case", _CASES, ids=lambda case: str(case["model"]))
def test_layers_of_next_token_prediction_join_the_pool(case: dict[str, Any]) -> None:
    plan = _plan(_DRAFTS["configs"][case["model"]], _words(case), case["options"]["tensor_parallel_size"])
    assert isinstance(plan, MemoryPlan), plan
    assert plan.vllm is not None
    found = plan.vllm.num_gpu_blocks, plan.vllm.kv_cache_tokens, plan.vllm.block_size_tokens, plan.vllm.bytes_per_block
    due = case["expected"]
    assert found == (due["num_blocks"], due["kv_tokens"], due["block_size"], due["bytes_per_block"])


_CLASSES = recorded("vllm_classes.json.gz")


@pytest.mark.parametrize("case", _CLASSES["cases"], ids=lambda case: f"{case['model']}-{case['options']}")
def test_classes_of_the_year_have_the_blocks_that_the_engine_decides(case: dict[str, Any]) -> None:
    plan = _plan(_CLASSES["configs"][case["model"]], _words(case), case["options"]["tensor_parallel_size"])
    assert isinstance(plan, MemoryPlan), plan
    assert plan.vllm is not None
    found = plan.vllm.num_gpu_blocks, plan.vllm.kv_cache_tokens, plan.vllm.block_size_tokens, plan.vllm.bytes_per_block
    due = case["expected"]
    assert found == (due["num_blocks"], due["kv_tokens"], due["block_size"], due["bytes_per_block"])


def test_a_head_without_a_configuration_is_one_layer_like_the_targets() -> None:
    """vLLM 0.9.1 on an H100: 51.63 GiB, 410,128 tokens (vllm-project/vllm#19831)."""
    drafting = '{"method":"eagle","model":"yuhuili/EAGLE-LLaMA3.1-Instruct-8B","num_speculative_tokens":3}'
    plan = _plan(_LLAMA, ["--speculative-config", drafting, "--kv-cache-memory-bytes", str(int(51.63 * GIB))])
    assert isinstance(plan, MemoryPlan)
    assert plan.vllm is not None
    assert abs((plan.vllm.kv_cache_tokens or 0) - 410128) <= 64
    assert "draft's configuration is not here" in plan.devices[0].memory[Segment.WEIGHTS].source


@pytest.mark.parametrize(
    ("model", "tokens", "message"),
    [
        ("MiniMaxAI/MiniMax-M2.7", 1, "Unsupported speculative method: 'mtp'"),
        ("moonshotai/Kimi-K2.5", 1, "Unsupported speculative method: 'mtp'"),
    ],
)
def test_a_model_without_such_layers_is_refused(model: str, tokens: int, message: str) -> None:
    drafting = json.dumps({"method": "mtp", "num_speculative_tokens": tokens})
    plan = _plan(_CONFIGS[model]["config"], ["-tp", "8", "--speculative-config", drafting], 8)
    assert isinstance(plan, Refusal)
    assert plan.message == message


def test_names_of_before_mean_the_same() -> None:
    config = _CONFIGS["deepseek-ai/DeepSeek-R1"]["config"]
    plans = [
        _plan(config, ["-tp", "8", "--spec-method", method, "--spec-tokens", "1", "--kv-cache-memory-bytes", "10G"], 8)
        for method in ("mtp", "deepseek_mtp")
    ]
    assert plans[0] == plans[1]


def test_a_draft_adds_its_layer_to_the_weights() -> None:
    config = _CONFIGS["deepseek-ai/DeepSeek-R1"]["config"]
    sizes = []
    for words in ([], ["--spec-method", "mtp", "--spec-tokens", "1"]):
        plan = _plan(config, ["-tp", "8", "--kv-cache-memory-bytes", "20G", *words], 8)
        assert isinstance(plan, MemoryPlan)
        sizes.append(plan.devices[0].memory.bytes_of(Segment.WEIGHTS) or 0)
    added = (sizes[1] - sizes[0]) * 8
    assert 10.5 * GIB < added < 12.5 * GIB


def test_a_draft_with_a_configuration_has_its_own_layers() -> None:
    small = {**_LLAMA, "num_hidden_layers": 4, "num_key_value_heads": 4, "hidden_size": 1024, "num_attention_heads": 8}
    words = ["--spec-model", "draft", "--spec-tokens", "3", "--kv-cache-memory-bytes", "20G"]
    card = PlanDevice("gpu0", 80 * GIB, None, (9, 0), "cuda", "NVIDIA H100 80GB HBM3")
    draft = Checkpoint("draft", small, (), None)
    plan = plan_command(["DIR", *words], Checkpoint("DIR", _LLAMA, (), None, draft=draft), (card,))
    assert isinstance(plan, MemoryPlan)
    assert plan.vllm is not None
    assert plan.vllm.bytes_per_token_per_rank == 32 * 2 * 8 * 128 * 2 + 4 * 2 * 4 * 128 * 2
    assert plan.devices[0].memory[Segment.KV_CACHE].basis is Basis.COMPUTED
    with pytest.raises(NoExactRuleError, match="configuration of the draft draft is not here"):
        _plan(_LLAMA, words)


def test_a_draft_of_several_tokens_at_once_uses_the_models_own_module() -> None:
    config = _CLASSES["configs"]["deepseek-ai/DeepSeek-V4-Flash"]
    words = ["-tp", "4", "--max-model-len", "32768", "--kv-cache-memory-bytes", "20G", "--speculative-config"]
    plans = [
        _plan(config, [*words, json.dumps({"method": method, "num_speculative_tokens": tokens})], 4)
        for method, tokens in (("dspark", 7), ("mtp", 1))
    ]
    assert all(isinstance(plan, MemoryPlan) for plan in plans)
    assert plans[0].vllm == plans[1].vllm  # type: ignore[union-attr]
