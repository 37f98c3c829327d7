"""The split of the weights over ranks and stages, against the parameters that vLLM's model classes create."""

from collections.abc import Mapping
from math import prod

import pytest

from kvtop.domain.model_file import Checkpoint, CheckpointTensor
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.vllm.planner import plan_command
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
    assert [plan.devices[stage * tp_size].weights_bytes for stage in range(stages)] == due


def test_a_bare_configuration_has_unknown_weights() -> None:
    plan = _plan(Checkpoint("DIR", _RECORDED["llama-3.2-1b"]["config"], (), None))
    assert isinstance(plan, MemoryPlan)
    assert plan.devices[0].weights_bytes is None
    assert any("no weights" in warning for warning in plan.warnings)


def test_a_tensor_without_a_rule_makes_the_split_unknown() -> None:
    known = _RECORDED["llama-3.2-1b"]
    checkpoint = _checkpoint(known["config"], {**known["tensors"], "model.layers.0.strange.weight": [16, 16]})
    split = _plan(checkpoint, "-tp", "2", ranks=2)
    assert isinstance(split, MemoryPlan)
    assert split.devices[0].weights_bytes is None
    whole = _plan(checkpoint)
    assert isinstance(whole, MemoryPlan)
    assert whole.devices[0].weights_bytes is not None


def test_quantised_weights_say_that_kernels_may_repack_them() -> None:
    known = _RECORDED["llama-3.2-1b"]
    plan = _plan(_checkpoint(known["config"], known["tensors"], "F8_E4M3"))
    assert isinstance(plan, MemoryPlan)
    assert any("repack" in warning for warning in plan.warnings)


def test_options_that_change_weights_make_them_unknown() -> None:
    known = _RECORDED["llama-3.2-1b"]
    plan = _plan(_checkpoint(known["config"], known["tensors"]), "--cpu-offload-gb", "4")
    assert isinstance(plan, MemoryPlan)
    assert plan.devices[0].weights_bytes is None
    assert any("cpu-offload-gb" in warning for warning in plan.warnings)
