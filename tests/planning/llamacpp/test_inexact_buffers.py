"""Where a driver chooses how buffers round, a plan is a range by type and nowhere called exact."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from kvtop.analysis.attribution.explained_memory import planned_memory
from kvtop.domain.answers.plan_answer import device_fit
from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.amounts import high_of, is_exact, low_of, size_of

SETTINGS = LlamaSettings(ctx_tokens=8192, fit=False)


def on_card(oracle: SimpleNamespace, api: str, alignment_bytes: int | None = None) -> DeviceShare:
    card = PlanDevice("gpu0", 80 << 30, None, None, api, buffer_alignment_bytes=alignment_bytes)
    answer = plan(oracle.headers["llama-3.1-8b"], SETTINGS, (card,))
    assert isinstance(answer, MemoryPlan), answer
    part = answer.device("gpu0")
    assert part is not None
    return part


@pytest.mark.parametrize("api", ["cuda", "rocm", "metal"])
def test_an_api_whose_rounding_is_known_is_exact(oracle: SimpleNamespace, api: str) -> None:
    assert is_exact(on_card(oracle, api))


@pytest.mark.parametrize("api", ["vulkan", "unknown"])
@pytest.mark.parametrize("alignment_bytes", [1, 4, 16, 64, 256])
def test_every_alignment_that_a_driver_may_choose_is_in_the_range(
    oracle: SimpleNamespace, api: str, alignment_bytes: int
) -> None:
    ranges = on_card(oracle, api)
    exact = on_card(oracle, api, alignment_bytes)
    assert is_exact(exact)
    for segment in (Segment.WEIGHTS, Segment.KV_CACHE):
        assert ranges.memory[segment].basis is Basis.ESTIMATED
        assert low_of(ranges, segment) <= size_of(exact, segment) <= high_of(ranges, segment)
        assert low_of(ranges, segment) <= size_of(ranges, segment) <= high_of(ranges, segment)


def test_an_api_whose_rules_were_not_compared_is_estimated_though_its_rounding_is_known(
    oracle: SimpleNamespace,
) -> None:
    part = on_card(oracle, "sycl")
    assert not is_exact(part)
    exact_bytes = size_of(on_card(oracle, "cuda"), Segment.WEIGHTS)
    assert low_of(part, Segment.WEIGHTS) == exact_bytes == high_of(part, Segment.WEIGHTS)
    assert size_of(part, Segment.WEIGHTS) == exact_bytes


def test_a_figure_of_such_a_plan_is_an_estimate(oracle: SimpleNamespace) -> None:
    part = on_card(oracle, "vulkan")
    whole = plan(oracle.headers["llama-3.1-8b"], SETTINGS, (PlanDevice("gpu0", 80 << 30, None, None, "vulkan"),))
    assert isinstance(whole, MemoryPlan)
    shown = planned_memory(whole, part)
    for segment in (Segment.WEIGHTS, Segment.KV_CACHE, Segment.RECURRENT):
        assert shown[segment].basis is Basis.ESTIMATED
        assert "vulkan" in shown[segment].source


def test_a_card_that_holds_only_the_low_end_is_tight(oracle: SimpleNamespace) -> None:
    part = on_card(oracle, "vulkan")
    needed = part.memory.total
    assert needed.value_bytes is not None
    assert needed.most_bytes is not None
    assert needed.least_bytes < needed.value_bytes < needed.most_bytes
    assert device_fit(part, Room(needed.most_bytes)).fit is Fit.FITS
    assert device_fit(part, Room(needed.most_bytes - 1)).fit is Fit.TIGHT
    assert device_fit(part, Room(needed.value_bytes - 1)).fit is Fit.TOO_LARGE


@pytest.mark.parametrize("gpu_layers", [0, 10, 33])
def test_layers_that_stay_on_the_host_are_planned_for_such_a_card_too(oracle: SimpleNamespace, gpu_layers: int) -> None:
    """The card copies their weights into buffers of its own."""
    settings = replace(SETTINGS, gpu_layers=gpu_layers)
    answer = plan(oracle.headers["llama-3.1-8b"], settings, (PlanDevice("gpu0", 80 << 30, None, None, "vulkan"),))
    assert isinstance(answer, MemoryPlan), answer
