"""The split of the weights over ranks and stages, against the parameters that vLLM's model classes create."""

import gzip
import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import pytest

from kvtop.domain.model_file import Checkpoint, CheckpointTensor
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.vllm.planner import plan_command


@pytest.fixture(scope="module")
def recorded() -> Mapping[str, Any]:
    path = Path(__file__).parents[2] / "fixtures" / "oracle" / "vllm_weights.json.gz"
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        loaded: Mapping[str, Any] = json.load(stream)
    return loaded


def _checkpoint(config: Mapping[str, object], shapes: Mapping[str, list[int]], dtype: str = "BF16") -> Checkpoint:
    tensors = tuple(
        CheckpointTensor(name, dtype, tuple(shape), prod(shape) * (2 if dtype == "BF16" else 1))
        for name, shape in shapes.items()
    )
    return Checkpoint("DIR", config, tensors, sum(tensor.size_bytes for tensor in tensors))


def _plan(checkpoint: Checkpoint, *words: str, ranks: int = 1) -> MemoryPlan | Refusal:
    devices = tuple(PlanDevice(f"gpu{rank}", 80 * 1024**3, None, (9, 0), "cuda", "H100") for rank in range(ranks))
    return plan_command(["DIR", "--max-model-len", "1000", *words], checkpoint, devices)


def test_every_recorded_split_is_exact(recorded: Mapping[str, Any]) -> None:
    wrong: list[str] = []
    for model, known in recorded.items():
        checkpoint = _checkpoint(known["config"], known["tensors"])
        for tp_size, stages, due in known["cases"]:
            plan = _plan(checkpoint, "-tp", str(tp_size), "-pp", str(stages), ranks=tp_size * stages)
            assert isinstance(plan, MemoryPlan), plan
            got = [plan.devices[stage * tp_size].weights_bytes for stage in range(stages)]
            if got != due:
                wrong.append(f"{model} tp{tp_size} pp{stages}: {got} is not {due}")
    assert wrong == []


def test_a_bare_configuration_has_unknown_weights(recorded: Mapping[str, Any]) -> None:
    plan = _plan(Checkpoint("DIR", recorded["llama-3.2-1b"]["config"], (), None))
    assert isinstance(plan, MemoryPlan)
    assert plan.devices[0].weights_bytes is None
    assert any("no weights" in warning for warning in plan.warnings)


def test_a_tensor_without_a_rule_makes_the_split_unknown(recorded: Mapping[str, Any]) -> None:
    known = recorded["llama-3.2-1b"]
    checkpoint = _checkpoint(known["config"], {**known["tensors"], "model.layers.0.strange.weight": [16, 16]})
    split = _plan(checkpoint, "-tp", "2", ranks=2)
    assert isinstance(split, MemoryPlan)
    assert split.devices[0].weights_bytes is None
    whole = _plan(checkpoint)
    assert isinstance(whole, MemoryPlan)
    assert whole.devices[0].weights_bytes is not None


def test_quantised_weights_say_that_kernels_may_repack_them(recorded: Mapping[str, Any]) -> None:
    known = recorded["llama-3.2-1b"]
    plan = _plan(_checkpoint(known["config"], known["tensors"], "F8_E4M3"))
    assert isinstance(plan, MemoryPlan)
    assert any("repack" in warning for warning in plan.warnings)


def test_options_that_change_weights_make_them_unknown(recorded: Mapping[str, Any]) -> None:
    known = recorded["llama-3.2-1b"]
    plan = _plan(_checkpoint(known["config"], known["tensors"]), "--cpu-offload-gb", "4")
    assert isinstance(plan, MemoryPlan)
    assert plan.devices[0].weights_bytes is None
    assert any("cpu-offload-gb" in warning for warning in plan.warnings)
