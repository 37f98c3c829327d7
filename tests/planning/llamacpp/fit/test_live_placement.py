"""Where a running server's layers lie is found by its log, by a replay of --fit, or by what its driver reports."""

from dataclasses import replace

import pytest

from kvtop.domain.compute_api import CUDA
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.fit.fitted import fit
from kvtop.planning.llamacpp.fit.live_placement import RunningModel, live_placement
from kvtop.planning.llamacpp.fit.measuring import settings_with
from kvtop.planning.llamacpp.fit.replay.answer import FitAnswer
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.protocol.placement_evidence import PlacementEvidence
from tests.models.rule_models import gguf_models

MIB = 2**20
CONTEXT_BYTES = 280 * MIB
assert CUDA.runtime_prior is not None


def prepared(name: str) -> PreparedModel:
    return prepare(gguf_models()[name])


def running(name: str, free_mib: int, **options: object) -> tuple[RunningModel, MemoryPlan]:
    """A server as `--fit` places it in so much memory, and what it then takes."""
    model, typed = prepared(name), replace(LlamaSettings(), **options)  # type: ignore[arg-type]
    devices = (PlanDevice("gpu0", 24 * 1024 * MIB, free_mib * MIB),)
    answer = fit(model, typed, devices)
    assert isinstance(answer, FitAnswer)
    loaded = settings_with(typed, answer.parameters)
    found = plan(model, loaded, devices)
    assert isinstance(found, MemoryPlan)
    effective = replace(typed, ctx_tokens=answer.parameters.n_ctx, fit=False)
    return RunningModel(model, typed, effective, devices), found


def held(found: MemoryPlan) -> int:
    card = found.device("gpu0")
    assert card is not None
    return (card.memory.total.value_bytes or 0) + CONTEXT_BYTES


CASES = [("llama-3.1-8b", 3500), ("llama-3.1-8b", 24000), ("qwen3-30b-a3b", 9000), ("gemma-3-27b", 12000)]


@pytest.mark.parametrize(("name", "free_mib"), CASES)
def test_the_replay_is_taken_where_the_driver_agrees(name: str, free_mib: int) -> None:
    server, found = running(name, free_mib)
    placed = live_placement(server, PlacementEvidence({"gpu0": held(found)}))
    assert "by the driver's figure" in placed.words
    options = dict(placed.options)
    assert ("gpu-layers" in options) is (free_mib != 24000)
    again = plan(
        server.model,
        replace(
            server.effective,
            gpu_layers=int(options["gpu-layers"]) if "gpu-layers" in options else None,
            tensor_overrides=tuple(
                (one.rpartition("=")[0], one.rpartition("=")[2])
                for one in options.get("override-tensor", "").split(",")
                if one
            ),
        ),
        server.devices,
    )
    assert isinstance(again, MemoryPlan)
    assert again.devices == found.devices


@pytest.mark.parametrize("layers", [0, 9, 20, 33])
def test_the_log_says_how_many_layers_there_are_whatever_was_free(layers: int) -> None:
    server, _ = running("llama-3.1-8b", 24000)
    found = plan(server.model, replace(server.effective, gpu_layers=layers), server.devices)
    assert isinstance(found, MemoryPlan)
    card = found.device("gpu0")
    assert card is not None
    logged = round((card.memory.bytes_of(Segment.WEIGHTS) or 0) / MIB, 2) * MIB
    placed = live_placement(server, PlacementEvidence({}, {"gpu0": round(logged)}, MIB // 100))
    assert "by the buffers in its log" in placed.words
    assert dict(placed.options).get("gpu-layers", "33") == str(layers)


@pytest.mark.parametrize(("name", "layers"), [("llama-3.1-8b", 17), ("qwen3-30b-a3b", 30)])
def test_the_driver_says_about_how_many_where_the_replay_is_off(name: str, layers: int) -> None:
    server, _ = running(name, 24000)
    option = "cpu_moe_layers" if name.startswith("qwen3-30b") else "gpu_layers"
    found = plan(server.model, replace(server.effective, **{option: layers}), server.devices)  # type: ignore[arg-type]
    assert isinstance(found, MemoryPlan)
    placed = live_placement(server, PlacementEvidence({"gpu0": held(found)}))
    assert "inferred from" in placed.words
    ((_, count),) = placed.options
    assert abs(int(count) - layers) <= 2


def test_what_was_typed_is_no_question_and_what_fits_nothing_is_said_so() -> None:
    server, found = running("llama-3.1-8b", 3500, gpu_layers=10)
    assert live_placement(server, PlacementEvidence({"gpu0": held(found)})).options == ()
    assert live_placement(server, PlacementEvidence({"gpu0": held(found)})).words == ""
    whole, found = running("llama-3.1-8b", 24000)
    odd = live_placement(whole, PlacementEvidence({"gpu0": 3 * held(found)}))
    assert odd.options == ()
    assert "no placement fits the driver's figures" in odd.words
    silent = live_placement(whole, PlacementEvidence())
    assert silent.options == ()
    assert "as --fit places them" in silent.words
