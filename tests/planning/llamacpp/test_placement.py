"""Which device holds which layer."""

import pytest

from kvtop.domain.plan import NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.memory.placement import Placement, override_rules, place
from kvtop.planning.llamacpp.options.settings import LlamaSettings

GIB = 2**30
ONE = (PlanDevice("gpu0", 24 * GIB),)
TWO = (PlanDevice("gpu0", 24 * GIB), PlanDevice("gpu1", 24 * GIB))


def _placed(settings: LlamaSettings, devices: tuple[PlanDevice, ...], gpu_layers: int | None = None) -> Placement:
    placement = place(32, settings, devices, gpu_layers)
    assert isinstance(placement, Placement)
    return placement


def test_everything_is_offloaded_by_default() -> None:
    placement = _placed(LlamaSettings(), ONE)
    assert set(placement.layers) == {"gpu0"}
    assert placement.output == "gpu0"
    assert not placement.pipeline_parallel


def test_the_last_layers_and_the_output_are_offloaded_first() -> None:
    placement = _placed(LlamaSettings(), ONE, gpu_layers=10)
    assert placement.layers.count("gpu0") == 9
    assert placement.layers[22:24] == ("host", "gpu0")
    output_only = _placed(LlamaSettings(), ONE, gpu_layers=1)
    assert set(output_only.layers) == {"host"}
    assert output_only.output == "gpu0"
    assert _placed(LlamaSettings(), ONE, gpu_layers=0).output == "host"


def test_without_accelerators_all_is_on_the_host() -> None:
    placement = _placed(LlamaSettings(), ())
    assert set(placement.layers) == {"host"}
    assert placement.devices == ()
    assert _placed(LlamaSettings(devices=("none",)), TWO).devices == ()


def test_layers_split_by_free_memory() -> None:
    even = _placed(LlamaSettings(), TWO)
    assert (even.layers.count("gpu0"), even.output) == (17, "gpu1")
    assert even.pipeline_parallel
    uneven = (PlanDevice("gpu0", 24 * GIB, free_bytes=6 * GIB), PlanDevice("gpu1", 24 * GIB, free_bytes=18 * GIB))
    assert _placed(LlamaSettings(), uneven).layers.count("gpu0") == 9


def test_a_given_split_wins_and_may_leave_a_device_out() -> None:
    assert _placed(LlamaSettings(tensor_split=(3.0, 1.0)), TWO).layers.count("gpu0") == 25
    assert _placed(LlamaSettings(tensor_split=(1.0,)), TWO).layers.count("gpu0") == 32


def test_partly_known_free_memory_is_not_guessed() -> None:
    half_known = (PlanDevice("gpu0", 24 * GIB), PlanDevice("gpu1", None))
    with pytest.raises(NoExactRuleError, match="free memory of all of them or of none"):
        place(32, LlamaSettings(), half_known, None)
    nothing_known = (PlanDevice("gpu0", None), PlanDevice("gpu1", None))
    assert _placed(LlamaSettings(), nothing_known).layers.count("gpu0") == 17


def test_split_mode_none_takes_the_main_gpu() -> None:
    assert set(_placed(LlamaSettings(split_mode="none", main_gpu=1), TWO).layers) == {"gpu1"}
    answer = place(32, LlamaSettings(split_mode="none", main_gpu=2), TWO, None)
    assert answer == Refusal("llama.cpp", "invalid value for main_gpu: 2 (available devices: 2)")


def test_row_split_is_refused_and_tensor_split_has_no_rule() -> None:
    answer = place(32, LlamaSettings(split_mode="row"), TWO, None)
    assert answer == Refusal("llama.cpp", "error loading model: device CUDA0 does not support split buffers")
    with pytest.raises(NoExactRuleError, match="tensor"):
        place(32, LlamaSettings(split_mode="tensor"), TWO, None)


def test_devices_are_chosen_by_either_name() -> None:
    assert _placed(LlamaSettings(devices=("CUDA1",)), TWO).devices == ("gpu1",)
    assert _placed(LlamaSettings(devices=("gpu1", "gpu0")), TWO).devices == ("gpu1", "gpu0")
    for name in ("CUDA7", "", "none", "GPU0"):
        words = f'error while handling argument "--device": invalid device: {name}'
        answer = place(32, LlamaSettings(devices=("CUDA0", name)), TWO, None)
        assert answer == Refusal("llama.cpp", words)
    with pytest.raises(NoExactRuleError, match="Vulkan0"):
        place(32, LlamaSettings(devices=("Vulkan0",)), TWO, None)


def test_the_cache_stays_on_the_host_when_it_is_not_offloaded() -> None:
    placement = _placed(LlamaSettings(kv_offload=False), TWO)
    assert placement.cache_device(0) == "host"
    assert placement.layers[0] == "gpu0"
    assert not placement.pipeline_parallel


def test_expert_shorthands_are_overrides_in_order() -> None:
    rules = override_rules(LlamaSettings(tensor_overrides=(("attn", "CUDA0"),), cpu_moe_layers=2, cpu_ffn_layers=1))
    assert rules[0] == ("attn", "CUDA0")
    assert [buffer for _, buffer in rules[1:]] == ["CPU", "CPU", "CPU"]
    assert rules[1][0].startswith(r"blk\.0\.ffn_(up|down|gate|gate_up)")
    assert rules[3][0] == r"blk\.0\.ffn_(up|down|gate)\."


@pytest.mark.parametrize(
    "split", [(float("nan"), 1.0), (float("inf"),), (-1.0, 1.0), (3e38, 3e38), (1.0, float("inf"))]
)
def test_shares_that_divide_nothing_have_no_rule(split: tuple[float, ...]) -> None:
    cards = (PlanDevice("gpu0", 1 << 34), PlanDevice("gpu1", 1 << 34))
    with pytest.raises(NoExactRuleError, match="divides nothing"):
        place(4, LlamaSettings(tensor_split=split), cards, 5)
