"""kvtop against the engine: every recorded case, to the byte, on every device."""

import time

from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.context import request_of, resolve_context
from kvtop.planning.llamacpp.model.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import Oracle


def _prepared(oracle: Oracle) -> dict[str, PreparedModel]:
    return {name: prepare(header) for name, header in oracle.headers.items()}


def test_weights_and_caches_are_exact_on_every_device(oracle: Oracle) -> None:
    assert _exact_parts(oracle) > 700


def test_more_models_are_exact_too(more_models: Oracle) -> None:
    assert len(more_models.headers) == 40
    assert _exact_parts(more_models) > 3600


def _exact_parts(oracle: Oracle) -> int:
    prepared = _prepared(oracle)
    wrong = []
    checked = 0
    for case in oracle.cases:
        if "error" in case.expected:
            continue
        answer = plan(prepared[case.model], case.settings, case.devices)
        assert isinstance(answer, MemoryPlan), f"{case.id}: {answer}"
        for name, expected in case.expected["by_device"].items():
            device = answer.device(name)
            assert device is not None, f"{case.id}: nothing planned for {name}"
            assert device.kv_cache_bytes is not None
            got = device.weights_bytes, device.kv_cache_bytes + device.recurrent_state_bytes
            if got != (expected["weights"], expected["kv"]):
                wrong.append((case.id, name, got, expected))
            checked += 1
        host = answer.device("host")
        assert host is not None
        assert host.output_bytes == case.expected["output_bytes"], case.id
    assert not wrong, f"{len(wrong)} of {checked} device parts differ, first: {wrong[:3]}"
    return checked


def test_refusals_are_in_the_words_of_the_engine(oracle: Oracle) -> None:
    prepared = _prepared(oracle)
    refused = [case for case in oracle.cases if "error" in case.expected]
    assert refused
    for case in refused:
        answer = plan(prepared[case.model], case.settings, case.devices)
        assert answer == Refusal("llama.cpp", case.expected["error"][0]), case.id


def test_caches_split_by_kind(oracle: Oracle) -> None:
    names = {"attention": "full", "swa": "sliding_window", "recurrent": "recurrent"}
    prepared = _prepared(oracle)
    for case in oracle.cases:
        if "error" in case.expected:
            continue
        answer = plan(prepared[case.model], case.settings, case.devices)
        assert isinstance(answer, MemoryPlan)
        parts = {part.kind: part for part in answer.cache_parts}
        split = case.expected["kv_split"]
        for recorded, kind in names.items():
            if recorded in split:
                assert parts[kind].size_bytes == split[recorded], (case.id, kind)
        if "swa_cells" in split:
            assert parts["sliding_window"].cells == split["swa_cells"], case.id
        if "attn_cells" in split:
            assert parts["full"].cells == split["attn_cells"], case.id


def test_context_resolves_as_the_engine_says(oracle: Oracle) -> None:
    prepared = _prepared(oracle)
    for case in oracle.cases:
        if "error" in case.expected:
            continue
        answer = plan(prepared[case.model], case.settings, case.devices)
        assert isinstance(answer, MemoryPlan)
        assert answer.context is not None
        got = (answer.context.n_ctx, answer.context.n_ctx_seq, answer.context.n_seq_max, answer.context.kv_unified)
        resolved = case.resolved
        assert got == tuple(resolved[key] for key in ("n_ctx", "n_ctx_seq", "n_seq_max", "kv_unified")), case.id
        assert answer.flash_attention == resolved["flash_attn"], case.id
        hparams = prepared[case.model].hparams
        context = resolve_context(request_of(case.settings, hparams), hparams, bool(answer.flash_attention))
        for key in ("n_batch", "n_ubatch", "n_outputs_max", "n_rs_seq"):
            assert getattr(context, key) == resolved[key], (case.id, key)


def test_a_grid_of_types_and_lengths_is_fast(oracle: Oracle) -> None:
    prepared = prepare(oracle.headers["gemma-3-27b"])
    devices = oracle.cases[0].devices
    started = time.process_time()
    planned = [
        plan(prepared, LlamaSettings(ctx_tokens=1024 * step, type_k=k, type_v=v, fit=False), devices)
        for k in CACHE_TYPES
        for v in CACHE_TYPES
        for step in range(4, 52, 4)
    ]
    elapsed_seconds = time.process_time() - started
    assert all(isinstance(one, MemoryPlan) for one in planned)
    # 972 plans: the interactive grid asks for 0.15 s; the bound leaves room for a busy machine.
    assert elapsed_seconds < 1.0
