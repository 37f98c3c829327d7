"""The split of the weights over ranks and stages, against the parameters that vLLM's model classes create."""

from collections.abc import Callable, Mapping
from math import prod

import pytest

from kvtop.domain.figure import Figure
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint, CheckpointTensor
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.vllm.planner import plan_command
from kvtop.planning.vllm.weight_changes import _grown, _offloaded
from tests.amounts import high_of, is_exact, low_of, size_of
from tests.oracle.recorded import recorded

_RECORDED = recorded("vllm_weights.json.gz")
_SPLITS = [(model, *case) for model, known in _RECORDED.items() for case in known["cases"]]


def _checkpoint(config: Mapping[str, object], shapes: Mapping[str, list[int]], dtype: str = "BF16") -> Checkpoint:
    tensors = tuple(
        CheckpointTensor(name, dtype, tuple(shape), prod(shape) * (2 if dtype == "BF16" else 1))
        for name, shape in shapes.items()
    )
    return Checkpoint("DIR", config, tensors, sum(tensor.size_bytes for tensor in tensors))


def _plan(checkpoint: Checkpoint, *words: str, ranks: int = 1) -> MemoryPlan | Refusal:
    devices = tuple(PlanDevice(f"gpu{rank}", 80 * 1024**3, None, (9, 0), "cuda", "H100") for rank in range(ranks))
    return plan_command(["DIR", "--max-model-len", "1000", *words], checkpoint, devices)


@pytest.mark.parametrize(
    ("model", "tp_size", "stages", "due"), _SPLITS, ids=[f"{split[0]}-tp{split[1]}-pp{split[2]}" for split in _SPLITS]
)
def test_a_recorded_split_is_exact(model: str, tp_size: int, stages: int, due: list[int]) -> None:
    checkpoint = _checkpoint(_RECORDED[model]["config"], _RECORDED[model]["tensors"])
    plan = _plan(checkpoint, "-tp", str(tp_size), "-pp", str(stages), ranks=tp_size * stages)
    assert isinstance(plan, MemoryPlan), plan
    assert [plan.devices[stage * tp_size].memory.bytes_of(Segment.WEIGHTS) for stage in range(stages)] == due


def test_a_bare_configuration_has_weights_by_its_shapes() -> None:
    known = _RECORDED["llama-3.2-1b"]
    plan = _plan(Checkpoint("DIR", known["config"], (), None))
    stored = _plan(_checkpoint(known["config"], known["tensors"]))
    assert isinstance(plan, MemoryPlan)
    assert isinstance(stored, MemoryPlan)
    found, due = plan.devices[0], size_of(stored.devices[0], Segment.WEIGHTS)
    assert low_of(found, Segment.WEIGHTS) <= due <= high_of(found, Segment.WEIGHTS)
    assert abs(size_of(found, Segment.WEIGHTS) - due) < due * 0.01
    assert any("shapes in config.json" in warning for warning in plan.warnings)


def test_a_configuration_without_an_inner_width_has_unknown_weights() -> None:
    config = {key: it for key, it in _RECORDED["llama-3.2-1b"]["config"].items() if key != "intermediate_size"}
    plan = _plan(Checkpoint("DIR", config, (), None))
    assert isinstance(plan, MemoryPlan)
    assert plan.devices[0].memory.bytes_of(Segment.WEIGHTS) is None
    assert any("config.json has no" in warning for warning in plan.warnings)


def test_a_tensor_without_a_rule_widens_the_weights_by_its_own_bytes() -> None:
    known = _RECORDED["llama-3.2-1b"]
    checkpoint = _checkpoint(known["config"], {**known["tensors"], "model.layers.0.strange.weight": [16, 16]})
    split = _plan(checkpoint, "-tp", "2", ranks=2)
    assert isinstance(split, MemoryPlan)
    ranges = split.devices[0]
    assert high_of(ranges, Segment.WEIGHTS) - low_of(ranges, Segment.WEIGHTS) == 16 * 16 * 2 // 2
    whole = _plan(checkpoint)
    assert isinstance(whole, MemoryPlan)
    assert is_exact(whole.devices[0])


def test_quantised_weights_say_that_kernels_may_repack_them() -> None:
    known = _RECORDED["llama-3.2-1b"]
    plan = _plan(_checkpoint(known["config"], known["tensors"], "F8_E4M3"))
    assert isinstance(plan, MemoryPlan)
    assert any("repack" in warning for warning in plan.warnings)


def test_weights_that_stay_on_the_host_leave_a_range() -> None:
    known = _RECORDED["llama-3.2-1b"]
    checkpoint = _checkpoint(known["config"], known["tensors"])
    usual, fewer = _plan(checkpoint), _plan(checkpoint, "--cpu-offload-gb", "1")
    assert isinstance(usual, MemoryPlan)
    assert isinstance(fewer, MemoryPlan)
    left, due = fewer.devices[0], size_of(usual.devices[0], Segment.WEIGHTS)
    assert low_of(left, Segment.WEIGHTS) <= due - 2**30 <= high_of(left, Segment.WEIGHTS)
    assert any("cpu-offload-gb" in warning for warning in fewer.warnings)


def test_experts_are_cut_over_tensor_and_data_ranks() -> None:
    config = _SHAPES["Qwen/Qwen3-30B-A3B"]["config"]
    sizes = {}
    for name, words, ranks in (
        ("tp8", ("-tp", "8"), 8),
        ("dp8", ("-dp", "8"), 8),
        ("dp8ep", ("-dp", "8", "--enable-expert-parallel"), 8),
    ):
        plan = _plan(Checkpoint("DIR", config, (), None), *words, ranks=ranks)
        assert isinstance(plan, MemoryPlan)
        sizes[name] = size_of(plan.devices[0], Segment.WEIGHTS)
    assert sizes["dp8"] == pytest.approx(sizes["dp8ep"], rel=0.001)
    assert sizes["tp8"] < sizes["dp8"] < 2 * sizes["tp8"]


_SHAPES = recorded("vllm_parameters.json.gz")
_CASES = [(model, tp_size, due) for model, known in _SHAPES.items() for tp_size, due in known["bytes"].items()]


@pytest.mark.parametrize(("model", "tp_size", "due"), _CASES, ids=[f"{case[0]}-tp{case[1]}" for case in _CASES])
def test_weights_by_shapes_are_those_that_the_engine_creates(model: str, tp_size: str, due: int) -> None:
    plan = _plan(Checkpoint("DIR", _SHAPES[model]["config"], (), None), "-tp", tp_size, ranks=int(tp_size))
    assert isinstance(plan, MemoryPlan), plan
    found = size_of(plan.devices[0], Segment.WEIGHTS)
    assert abs(found - due) < due * _SHAPES[model].get("within", 0.02) + (32 << 20)


@pytest.mark.parametrize("change", [lambda it: _grown(it, 0.1), lambda it: _offloaded(it, 1 << 30)])
def test_weights_that_are_unknown_stay_so(change: Callable[[Figure], Figure]) -> None:
    assert change(Figure.computed(None)).value_bytes is None
    assert (change(Figure.computed(4 << 30)).value_bytes or 0) > 0
