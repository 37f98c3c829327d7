"""Every architecture with a rule, against the engine's own accounting of a tiny model."""

import pytest

from kvtop.domain.plan import MemoryPlan, NoExactRuleError, Refusal
from kvtop.planning.llamacpp.memory.prepared import prepare
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
from tests.oracle.cases import (
    ARCHITECTURES,
    PLACEMENTS,
    header_of,
    load_architectures,
    load_placements,
    prepared_architecture,
)
from tests.oracle.recorded import numbered, recorded

_TINY = recorded(ARCHITECTURES.name)["cases"]
_PLACED = recorded(PLACEMENTS.name)["cases"]


@pytest.mark.parametrize("index", range(len(_TINY)), ids=numbered(case["model"] for case in _TINY))
def test_a_tiny_model_is_exact(index: int) -> None:
    case = load_architectures()[1][index]
    answer = plan(prepared_architecture(case.model), case.settings, ())
    if case.error is not None:
        assert answer == Refusal("llama.cpp", case.error)
        return
    assert isinstance(answer, MemoryPlan), answer
    host = answer.device("host")
    assert host is not None
    assert host.kv_cache_bytes is not None
    assert answer.context is not None
    got = host.weights_bytes, host.kv_cache_bytes + host.recurrent_state_bytes, answer.context.n_ctx
    assert got == (case.weights_bytes, case.cache_bytes, case.n_ctx)


@pytest.mark.parametrize("index", range(len(_PLACED)), ids=numbered(case[0] for case in _PLACED))
def test_a_tiny_model_is_exact_wherever_its_layers_are(index: int) -> None:
    case = load_placements()[index]
    answer = plan(prepared_architecture(case.model), case.settings, case.devices)
    assert isinstance(answer, MemoryPlan), answer
    got = {
        device.name: (device.weights_bytes, (device.kv_cache_bytes or 0) + device.recurrent_state_bytes)
        for device in answer.devices
    }
    assert got == case.expected


def test_the_recordings_are_of_nearly_every_architecture() -> None:
    headers, _ = load_architectures()
    assert len({prepared_architecture(name).hparams.arch for name in headers}) > 120
    assert len(_PLACED) > 2000


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
    header = header_of("x", {"general.architecture": ["str", arch]}, [])
    with pytest.raises(NoExactRuleError, match=f"no memory rule for llama.cpp architecture '{arch}'"):
        prepare(header)
