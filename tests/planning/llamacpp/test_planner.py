"""Whole plans: second models, second contexts, derivations and what cannot be planned."""

from dataclasses import replace

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import DraftSettings, LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.amounts import size_of
from tests.oracle import cases as oracle_cases
from tests.oracle.cases import Oracle

CARD = (PlanDevice("gpu0", 80 * 2**30),)
MIB = 2**20


def _planned(answer: MemoryPlan | Refusal) -> MemoryPlan:
    assert isinstance(answer, MemoryPlan), answer
    return answer


def _kv_bytes(answer: MemoryPlan, name: str = "gpu0") -> int:
    device = answer.device(name)
    assert device is not None
    assert device.memory.bytes_of(Segment.KV_CACHE) is not None
    return size_of(device, Segment.KV_CACHE)


def test_a_plan_says_what_it_is_about(oracle: Oracle) -> None:
    answer = _planned(plan(oracle.headers["llama-3.1-8b"], LlamaSettings(ctx_tokens=32768, fit=False), CARD))
    assert (answer.engine, answer.rules_version, answer.architecture) == ("llama.cpp", "llama.cpp b11434", "llama")
    assert answer.model == "Llama 3.1 8B Instruct"
    assert answer.bytes_per_token == 131072
    assert [device.name for device in answer.devices] == ["gpu0", "host"]
    assert _kv_bytes(answer) == 4096 * MIB
    assert answer.warnings == ()


def test_the_trained_context_does_not_cap_memory(oracle: Oracle) -> None:
    settings = LlamaSettings(ctx_tokens=81920, fit=False)
    answer = _planned(plan(oracle.headers["qwen3-8b"], settings, CARD))
    assert answer.context is not None
    assert answer.context.n_ctx == 81920
    assert any("81920) > n_ctx_train (40960)" in warning for warning in answer.warnings)


def test_a_draft_model_adds_its_own_weights_and_cache(oracle: Oracle) -> None:
    target, draft = oracle.headers["gemma-3-27b"], oracle.headers["gemma-3-270m"]
    settings = LlamaSettings(ctx_tokens=8192, parallel=2, type_k="q8_0", type_v="q8_0", fit=False)
    alone = _planned(plan(target, settings, CARD))
    drafted = _planned(plan(target, replace(settings, draft=DraftSettings("d.gguf")), CARD, draft))
    by_itself = _planned(plan(draft, replace(settings, type_k="f16", type_v="f16"), CARD))
    for name in ("gpu0", "host"):
        whole, first, second = drafted.device(name), alone.device(name), by_itself.device(name)
        assert whole is not None
        assert first is not None
        assert second is not None
        for segment in (Segment.WEIGHTS, Segment.OUTPUT):
            assert size_of(whole, segment) == size_of(first, segment) + size_of(second, segment)
    assert _kv_bytes(drafted) == _kv_bytes(alone) + _kv_bytes(by_itself)
    parts = {part.kind: part.size_bytes for part in drafted.cache_parts}
    assert parts["draft"] == _kv_bytes(by_itself)


def test_a_draft_model_may_stay_on_the_host_with_other_types(oracle: Oracle) -> None:
    target, draft = prepare(oracle.headers["llama-3.1-8b"]), prepare(oracle.headers["qwen3-8b"])
    own = DraftSettings("d.gguf", type_k="q4_0", type_v="q4_0", gpu_layers=0)
    settings = LlamaSettings(ctx_tokens=4096, draft=own, fit=False)
    answer = _planned(plan(target, settings, CARD, draft))
    assert _kv_bytes(answer, "host") == 4096 * 36 * 2 * 1024 // 32 * 18
    assert _kv_bytes(answer) == 512 * MIB


def test_a_draft_without_its_header_cannot_be_planned(oracle: Oracle) -> None:
    settings = LlamaSettings(draft=DraftSettings("d.gguf"))
    with pytest.raises(NoExactRuleError, match="header of the draft"):
        plan(oracle.headers["qwen3-8b"], settings, CARD)


def test_a_prediction_head_needs_blocks_in_the_file(oracle: Oracle) -> None:
    settings = LlamaSettings(speculative_types=("draft-mtp",), fit=False)
    answer = plan(oracle.headers["qwen3.5-9b"], settings, CARD)
    assert isinstance(answer, Refusal)
    assert "doesn't contain MTP layers" in answer.message


def test_prediction_blocks_are_loaded_and_cached_on_demand() -> None:
    headers, _ = oracle_cases.load_architectures()
    model = prepare(headers["qwen35-dense-mtp"])
    plain = _planned(plan(model, LlamaSettings(ctx_tokens=4096, parallel=1, fit=False), CARD))
    predicting = _planned(
        plan(model, LlamaSettings(ctx_tokens=4096, parallel=1, speculative_types=("draft-mtp",), fit=False), CARD)
    )
    before, after = plain.device("gpu0"), predicting.device("gpu0")
    assert before is not None
    assert after is not None
    assert (after.memory.bytes_of(Segment.WEIGHTS) or 0) > (before.memory.bytes_of(Segment.WEIGHTS) or 0)
    assert size_of(after, Segment.RECURRENT) == 4 * size_of(before, Segment.RECURRENT)
    drafted = next(part for part in predicting.cache_parts if part.kind == "draft")
    assert (drafted.layers, drafted.cells) == (1, 4096)
    assert _kv_bytes(predicting) == _kv_bytes(plain) + drafted.size_bytes


def test_the_derivation_names_layers_cells_and_rules(oracle: Oracle) -> None:
    answer = _planned(plan(oracle.headers["gemma-3-27b"], LlamaSettings(ctx_tokens=32768, parallel=1), CARD))
    text = "\n".join(f"{step.text} [{step.rule}]" for step in answer.steps)
    assert "-c 32768 becomes 1 stream of 32768 cells" in text
    assert "52 sliding-window layers on gpu0 cache 1536 cells" in text
    assert "10 full-attention layers on gpu0 cache 32768 cells: K rows of 2048 f16" in text
    assert "62 on gpu0, 0 on host" in text
    assert "src/llama-kv-cache-iswa.cpp" in text


def test_recurrent_state_is_explained(oracle: Oracle) -> None:
    answer = _planned(plan(oracle.headers["qwen3.5-9b"], LlamaSettings(ctx_tokens=4096, parallel=2), CARD))
    assert any("24 recurrent layers" in step.text and "2 rows" in step.text for step in answer.steps)
    part = next(part for part in answer.cache_parts if part.kind == "recurrent")
    assert part.cells is None


def test_fit_is_pointed_out_where_it_could_change_something(oracle: Oracle) -> None:
    header = oracle.headers["llama-3.1-8b"]
    assert any("--fit is on" in warning for warning in _planned(plan(header, LlamaSettings(), CARD)).warnings)
    pinned = LlamaSettings(ctx_tokens=4096, gpu_layers=99)
    assert _planned(plan(header, pinned, CARD)).warnings == ()
    assert _planned(plan(header, LlamaSettings(), ())).warnings == ()


def test_silent_costs_are_pointed_out(oracle: Oracle) -> None:
    header = oracle.headers["llama-3.1-8b"]
    settings = LlamaSettings(ctx_tokens=4096, type_v="iq4_nl", mmproj_path="mmproj.gguf", fit=False)
    vulkan = (PlanDevice("gpu0", 8 * 2**30, compute_capability=None, compute_api="vulkan"),)
    warnings = " ".join(_planned(plan(header, settings, CARD)).warnings)
    assert "no flash attention for iq4_nl" in warnings
    assert "--mmproj" in warnings
    assert "vulkan" in " ".join(_planned(plan(header, LlamaSettings(fit=False), vulkan)).warnings)
