"""Where a driver chooses how buffers round, a plan is a range by type and nowhere called exact."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from kvtop.analysis.attribution.segments import planned_parts
from kvtop.domain.answers.plan_answer import device_fit
from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.figure import Basis
from kvtop.domain.plan import DevicePlan, Estimate, MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan

SETTINGS = LlamaSettings(ctx_tokens=8192, fit=False)


def on_card(oracle: SimpleNamespace, api: str, alignment_bytes: int | None = None) -> DevicePlan:
    card = PlanDevice("gpu0", 80 << 30, None, None, api, buffer_alignment_bytes=alignment_bytes)
    answer = plan(oracle.headers["llama-3.1-8b"], SETTINGS, (card,))
    assert isinstance(answer, MemoryPlan), answer
    part = answer.device("gpu0")
    assert part is not None
    return part


@pytest.mark.parametrize("api", ["cuda", "rocm", "metal"])
def test_an_api_whose_rounding_is_known_is_exact(oracle: SimpleNamespace, api: str) -> None:
    assert on_card(oracle, api).inexact is None


@pytest.mark.parametrize("api", ["vulkan", "unknown"])
@pytest.mark.parametrize("alignment_bytes", [1, 4, 16, 64, 256])
def test_every_alignment_that_a_driver_may_choose_is_in_the_range(
    oracle: SimpleNamespace, api: str, alignment_bytes: int
) -> None:
    ranges = on_card(oracle, api).inexact
    exact = on_card(oracle, api, alignment_bytes)
    assert ranges is not None
    assert exact.inexact is None
    assert exact.weights_bytes is not None
    assert exact.kv_cache_bytes is not None
    assert ranges.weights.low_bytes <= exact.weights_bytes <= ranges.weights.high_bytes
    assert ranges.kv_cache.low_bytes <= exact.kv_cache_bytes <= ranges.kv_cache.high_bytes
    assert ranges.weights.low_bytes <= ranges.weights.value_bytes <= ranges.weights.high_bytes


def test_an_api_whose_rules_were_not_compared_is_estimated_though_its_rounding_is_known(
    oracle: SimpleNamespace,
) -> None:
    part = on_card(oracle, "sycl")
    assert part.inexact is not None
    assert part.inexact.weights == Estimate.exactly(part.weights_bytes or 0)
    assert part.weights_bytes == on_card(oracle, "cuda").weights_bytes


def test_a_figure_of_such_a_plan_is_an_estimate(oracle: SimpleNamespace) -> None:
    part = on_card(oracle, "vulkan")
    whole = plan(oracle.headers["llama-3.1-8b"], SETTINGS, (PlanDevice("gpu0", 80 << 30, None, None, "vulkan"),))
    assert isinstance(whole, MemoryPlan)
    shown = planned_parts(whole, part)
    assert {shown.weights.basis, shown.kv_cache.basis, shown.recurrent.basis} == {Basis.ESTIMATED}
    assert "vulkan" in shown.weights.source
    assert planned_parts(whole, replace(part, inexact=None)).weights.basis is Basis.COMPUTED


def test_a_card_that_holds_only_the_low_end_is_tight(oracle: SimpleNamespace) -> None:
    part = on_card(oracle, "vulkan")
    needed = part.held + part.compute
    assert needed.low_bytes < needed.value_bytes < needed.high_bytes
    assert device_fit(part, Room(needed.high_bytes)).fit is Fit.FITS
    assert device_fit(part, Room(needed.high_bytes - 1)).fit is Fit.TIGHT
    assert device_fit(part, Room(needed.value_bytes - 1)).fit is Fit.TOO_LARGE


@pytest.mark.parametrize("gpu_layers", [0, 10, 33])
def test_layers_that_stay_on_the_host_are_planned_for_such_a_card_too(oracle: SimpleNamespace, gpu_layers: int) -> None:
    """The card copies their weights into buffers of its own."""
    settings = replace(SETTINGS, gpu_layers=gpu_layers)
    answer = plan(oracle.headers["llama-3.1-8b"], settings, (PlanDevice("gpu0", 80 << 30, None, None, "vulkan"),))
    assert isinstance(answer, MemoryPlan), answer
