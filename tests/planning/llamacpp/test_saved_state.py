"""Saved sequences against what a llama-server wrote and logged, and the bounds that follow."""

import pytest

from kvtop.domain.plan import HostGrowth, MemoryPlan
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.model_plan import ModelPlan
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan, plan_model
from kvtop.planning.llamacpp.saved_state import SavedState, saved_state
from tests.models.rule_models import gguf_models

MIB = 2**20


def _planned(name: str, parallel: int = 1) -> ModelPlan:
    found = plan_model(prepare(gguf_models()[name]), LlamaSettings(ctx_tokens=40960, parallel=parallel), ())
    assert isinstance(found, ModelPlan)
    return found


def _saved(name: str, tokens: int, parallel: int = 1) -> SavedState:
    found = saved_state(_planned(name, parallel), tokens, swa_full=False)
    assert found is not None
    return found


@pytest.mark.parametrize(("tokens", "written"), [(30, 554316), (700, 10032580)])
def test_a_sequence_is_as_large_as_the_server_writes_it(tokens: int, written: int) -> None:
    """`POST /slots/0?action=save` of b11434, `-c 4096 -np 2`: `n_written` has 12 bytes and tokens, and no opening."""
    packed_tokens = tokens + 4
    assert _saved("gemma-3-270m", tokens, 2).state_bytes == written - 12 - 4 * packed_tokens + 8


@pytest.mark.parametrize(
    ("name", "tokens", "logged_mib"),
    # b11434 here; Qwen3-Next of a public log (December 2025 to October 2026).
    [("gemma-3-270m", 26, 0.382), ("gemma-3-270m", 696, 7.506), ("qwen3-next-80b", 5000, 75.376)],
)
def test_a_checkpoint_is_as_large_as_the_server_logs_it(name: str, tokens: int, logged_mib: float) -> None:
    parallel = 2 if name == "gemma-3-270m" else 1
    assert round(_saved(name, tokens, parallel).checkpoint_bytes / MIB, 3) == logged_mib


@pytest.mark.parametrize(("tokens", "logged_mib"), [(399, 174.569), (2775, 323.096)])
def test_a_saved_prompt_is_that_of_a_public_log(tokens: int, logged_mib: float) -> None:
    """llama.cpp issue 20153: Qwen3.5 27B. That build wrote 12 bytes less a cell."""
    found = _saved("qwen3.5-27b", tokens).state_bytes
    assert abs(found / MIB - logged_mib) < 0.0002 * logged_mib
    assert round((found - 12 * tokens) / MIB, 3) == pytest.approx(logged_mib, abs=0.001)


def test_models_that_can_be_rolled_back_need_no_checkpoint() -> None:
    assert _saved("llama-3.1-8b", 1000).checkpoint_bytes == 0


def _growth(name: str, **settings: int) -> HostGrowth:
    found = plan(gguf_models()[name], LlamaSettings(ctx_tokens=32768, **settings), ())  # type: ignore[arg-type]
    assert isinstance(found, MemoryPlan)
    assert found.host_growth is not None
    return found.host_growth


def test_the_most_is_the_limit_and_every_slots_checkpoints() -> None:
    found = _growth("gemma-3-27b", parallel=2, ctx_checkpoints=4, cache_ram_mib=1024)
    assert found.prompt_tokens == 16384
    assert found.checkpoint_bytes is not None
    assert found.most_bytes == 1024 * MIB + 2 * 4 * found.checkpoint_bytes
    assert _growth("gemma-3-27b", cache_ram_mib=-1).most_bytes is None
    assert _growth("llama-3.1-8b", cache_ram_mib=0).most_bytes == 0


def test_a_cache_without_a_rule_is_unknown() -> None:
    found = _growth("deepseek-v3.2")
    assert (found.prompt_bytes, found.checkpoint_bytes, found.most_bytes) == (None, None, None)
