"""kvtop against the engine: every recorded case, to the byte, on every device."""

import time
from functools import cache
from pathlib import Path

import pytest

from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.context import request_of, resolve_context
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import FIXTURE, MORE_MODELS, Case, Oracle, load_oracle, prepared
from tests.oracle.recorded import recorded


def _ids(path: Path, *, refused: bool) -> list[str]:
    return [case["id"] for case in recorded(path.name)["cases"] if ("error" in case["expected"]) is refused]


@cache
def _cases(path: Path) -> dict[str, Case]:
    return {case.id: case for case in load_oracle(path).cases}


@cache
def _planned(path: Path, name: str) -> MemoryPlan:
    case = _cases(path)[name]
    answer = plan(prepared(path, case.model), case.settings, case.devices)
    assert isinstance(answer, MemoryPlan), answer
    return answer


def _assert_exact(path: Path, name: str) -> None:
    answer, expected = _planned(path, name), _cases(path)[name].expected
    for device_name, due in expected["by_device"].items():
        device = answer.device(device_name)
        assert device is not None, f"nothing planned for {device_name}"
        assert device.kv_cache_bytes is not None
        got = device.weights_bytes, device.kv_cache_bytes + device.recurrent_state_bytes
        assert got == (due["weights"], due["kv"]), device_name
    host = answer.device("host")
    assert host is not None
    assert host.output_bytes == expected["output_bytes"]


@pytest.mark.parametrize("name", _ids(FIXTURE, refused=False))
def test_weights_and_caches_are_exact_on_every_device(name: str) -> None:
    _assert_exact(FIXTURE, name)


@pytest.mark.parametrize("name", _ids(MORE_MODELS, refused=False))
def test_more_models_are_exact_too(name: str) -> None:
    _assert_exact(MORE_MODELS, name)


def test_the_recordings_are_as_large_as_they_were() -> None:
    assert len(_ids(FIXTURE, refused=False)) > 350
    assert len(_ids(MORE_MODELS, refused=False)) > 1800
    assert len(recorded(MORE_MODELS.name)["models"]) == 40


@pytest.mark.parametrize("name", _ids(FIXTURE, refused=True))
def test_refusals_are_in_the_words_of_the_engine(name: str) -> None:
    case = _cases(FIXTURE)[name]
    answer = plan(prepared(FIXTURE, case.model), case.settings, case.devices)
    assert answer == Refusal("llama.cpp", case.expected["error"][0])


@pytest.mark.parametrize("name", _ids(FIXTURE, refused=False))
def test_caches_split_by_kind(name: str) -> None:
    parts = {part.kind: part for part in _planned(FIXTURE, name).cache_parts}
    split = _cases(FIXTURE)[name].expected["kv_split"]
    for kind, ours in (("attention", "full"), ("swa", "sliding_window"), ("recurrent", "recurrent")):
        if kind in split:
            assert parts[ours].size_bytes == split[kind], kind
    if "swa_cells" in split:
        assert parts["sliding_window"].cells == split["swa_cells"]
    if "attn_cells" in split:
        assert parts["full"].cells == split["attn_cells"]


@pytest.mark.parametrize("name", _ids(FIXTURE, refused=False))
def test_context_resolves_as_the_engine_says(name: str) -> None:
    case, answer = _cases(FIXTURE)[name], _planned(FIXTURE, name)
    assert answer.context is not None
    got = (answer.context.n_ctx, answer.context.n_ctx_seq, answer.context.n_seq_max, answer.context.kv_unified)
    resolved = case.resolved
    assert got == tuple(resolved[key] for key in ("n_ctx", "n_ctx_seq", "n_seq_max", "kv_unified"))
    assert answer.flash_attention == resolved["flash_attn"]
    hparams = prepared(FIXTURE, case.model).hparams
    context = resolve_context(request_of(case.settings, hparams), hparams, bool(answer.flash_attention))
    for key in ("n_batch", "n_ubatch", "n_outputs_max", "n_rs_seq"):
        assert getattr(context, key) == resolved[key], key


def test_a_grid_of_types_and_lengths_is_fast(oracle: Oracle) -> None:
    model = prepare(oracle.headers["gemma-3-27b"])
    devices = oracle.cases[0].devices
    started = time.process_time()
    planned = [
        plan(model, LlamaSettings(ctx_tokens=1024 * step, type_k=k, type_v=v, fit=False), devices)
        for k in CACHE_TYPES
        for v in CACHE_TYPES
        for step in range(4, 52, 4)
    ]
    elapsed_seconds = time.process_time() - started
    assert all(isinstance(one, MemoryPlan) for one in planned)
    # 972 plans: the interactive grid asks for 0.15 s; the bound leaves room for a busy machine.
    assert elapsed_seconds < 1.0
