"""The largest context is one that fits, and the next step is one that does not."""

from dataclasses import replace

import pytest

from kvtop.domain.answers.plan_answer import device_fit
from kvtop.domain.answers.room import Fit, Room, room_of
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.fit.largest_context import STEP_TOKENS, largest_context
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.amounts import size_of
from tests.oracle.cases import Oracle

GIB = 1024**3


def _fits(model: PreparedModel, settings: LlamaSettings, device: PlanDevice) -> bool:
    answer = plan(model, settings, (device,))
    assert isinstance(answer, MemoryPlan)
    part = answer.device(device.name)
    assert part is not None
    return device_fit(part, room_of(device)).fit is Fit.FITS


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-3-27b", "deepseek-v2-lite"])
@pytest.mark.parametrize("settings", [LlamaSettings(), LlamaSettings(parallel=3, type_k="q8_0", type_v="q8_0")])
def test_it_fits_and_one_step_more_does_not(name: str, settings: LlamaSettings, oracle: Oracle) -> None:
    model = prepare(oracle.headers[name])
    smallest = plan(model, replace(settings, ctx_tokens=STEP_TOKENS), (PlanDevice("gpu0", None),))
    assert isinstance(smallest, MemoryPlan)
    part = smallest.device("gpu0")
    assert part is not None
    assert part.memory.bytes_of(Segment.WEIGHTS) is not None
    room = size_of(part, Segment.WEIGHTS) + 2 * GIB
    device = PlanDevice("gpu0", room, room)
    found = largest_context(model, settings, (device,), {"gpu0": Room(room), "host": None})
    step = STEP_TOKENS * (settings.parallel or 1)
    assert found.tokens > 0
    assert found.tokens % step == 0
    assert not found.is_trained_limit
    assert _fits(model, replace(settings, ctx_tokens=found.tokens), device)
    assert not _fits(model, replace(settings, ctx_tokens=found.tokens + step), device)


def test_the_trained_context_of_every_sequence_is_the_most(oracle: Oracle) -> None:
    model = prepare(oracle.headers["llama-3.1-8b"])
    for settings, sequences in ((LlamaSettings(), 1), (LlamaSettings(parallel=2), 2)):
        found = largest_context(model, settings, (), {"host": None})
        assert (found.tokens, found.is_trained_limit) == (131072 * sequences, True)


def test_nothing_fits_into_nothing(oracle: Oracle) -> None:
    found = largest_context(prepare(oracle.headers["llama-3.1-8b"]), LlamaSettings(), (), {"host": Room(GIB)})
    assert (found.tokens, found.is_trained_limit) == (0, False)
