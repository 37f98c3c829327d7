"""Every architecture with a rule, against the engine's own accounting of a tiny model."""

import pytest

from kvtop.domain.plan import MemoryPlan, NoExactRuleError, Refusal
from kvtop.planning.llamacpp.model.prepared import prepare
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.llamacpp.rules.architectures import (
    COPIED_FIRST,
    DELTA_ATTENTION,
    HYBRID,
    INDEXED,
    LATENT,
    MTP_NEVER,
    MTP_ON_DEMAND,
    NO_CACHE,
    NOT_CAUSAL,
    RECURRENT,
    ROLLBACK,
    SSM_SCAN,
    SUPPORTED,
    TIED,
    UNTIED,
    WINDOWS,
)
from tests.oracle import cases as oracle_cases


def test_tiny_models_of_all_architectures_are_exact() -> None:
    headers, cases = oracle_cases.load_architectures()
    prepared = {name: prepare(header) for name, header in headers.items()}
    assert len({model.hparams.arch for model in prepared.values()}) > 120
    wrong: list[object] = []
    for case in cases:
        answer = plan(prepared[case.model], case.settings, ())
        if case.error is not None:
            if answer != Refusal("llama.cpp", case.error):
                wrong.append((case.model, case.error, answer))
            continue
        assert isinstance(answer, MemoryPlan), (case.model, answer)
        host = answer.device("host")
        assert host is not None
        assert host.kv_cache_bytes is not None
        assert answer.context is not None
        got = host.weights_bytes, host.kv_cache_bytes + host.recurrent_state_bytes, answer.context.n_ctx
        if got != (case.weights_bytes, case.cache_bytes, case.n_ctx):
            wrong.append((case.model, got, case))
    assert not wrong, f"{len(wrong)} of {len(cases)} cases differ, first: {wrong[:3]}"


def test_all_architectures_are_exact_wherever_their_layers_are() -> None:
    headers, _ = oracle_cases.load_architectures()
    cases = oracle_cases.load_placements()
    prepared = {name: prepare(header) for name, header in headers.items()}
    wrong: list[object] = []
    for case in cases:
        answer = plan(prepared[case.model], case.settings, case.devices)
        assert isinstance(answer, MemoryPlan), (case.model, answer)
        got = {
            device.name: (device.weights_bytes, (device.kv_cache_bytes or 0) + device.recurrent_state_bytes)
            for device in answer.devices
        }
        if got != case.expected:
            wrong.append((case.model, case.settings, got, case.expected))
    assert not wrong, f"{len(wrong)} of {len(cases)} cases differ, first: {wrong[:2]}"
    assert len(cases) > 2000


def test_every_special_rule_is_for_a_supported_architecture() -> None:
    for group in (
        WINDOWS.keys(),
        COPIED_FIRST,
        DELTA_ATTENTION,
        HYBRID,
        INDEXED,
        LATENT,
        MTP_NEVER,
        MTP_ON_DEMAND,
        NO_CACHE,
        NOT_CAUSAL,
        RECURRENT,
        ROLLBACK,
        SSM_SCAN,
    ):
        assert group <= SUPPORTED, sorted(group - SUPPORTED)
    assert not TIED & UNTIED


@pytest.mark.parametrize("arch", ["qwen4exp", "t5", "clip", "a-model-of-next-year"])
def test_an_architecture_without_a_rule_is_refused_by_name(arch: str) -> None:
    header = oracle_cases.header_of("x", {"general.architecture": ["str", arch]}, [])
    with pytest.raises(NoExactRuleError, match=f"no memory rule for llama.cpp architecture '{arch}'"):
        prepare(header)
