"""Every recorded answer of `--fit`: the context, the layers, the split and the overrides that b11434 itself chose."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.llamacpp.fit.fitted import fit
from kvtop.planning.llamacpp.fit.measuring import settings_with
from kvtop.planning.llamacpp.fit.replay.answer import FitAnswer, FitStatus
from kvtop.planning.llamacpp.fit.replay.trial import Parameters
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.model_plan import ModelPlan
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import compute_of, plan, plan_model, plan_second
from tests.oracle.cases import Oracle
from tests.oracle.every_case import Answer, EveryCase, grouped

_MIB = 2**20
_FIXTURES = Path(__file__).parents[3] / "fixtures" / "fit"
_RECORDED: list[dict[str, Any]] = [
    json.loads(gzip.decompress((_FIXTURES / name).read_bytes())) for name in ("b11434.json.gz", "b11434_more.json.gz")
]
_HOST_TOTAL_BYTES = _RECORDED[0]["host_total_bytes"]
_CASES = grouped(
    (case["model"], case["id"], case)
    for recorded in _RECORDED
    for case in recorded["cases"]
    if case["expected"]["status"] != "off"
)


@pytest.fixture(scope="module")
def models(oracle: Oracle, more_models: Oracle) -> dict[str, PreparedModel]:
    return {
        name: prepare(header) for headers in (oracle.headers, more_models.headers) for name, header in headers.items()
    }


def _question(
    case: dict[str, Any], models: dict[str, PreparedModel]
) -> tuple[LlamaSettings, tuple[PlanDevice, ...], PreparedModel | None]:
    drafts = [word[7:-1] for word in case["flags"] if word.startswith("{MODEL:")]
    words = ["draft.gguf" if word.startswith("{MODEL:") else word for word in case["flags"]]
    settings = settings_of(parse_llama_server(["-m", "model.gguf", *words], {}, []))
    assert isinstance(settings, LlamaSettings)
    devices = tuple(
        PlanDevice(f"gpu{index}", total * _MIB, free * _MIB) for index, (total, free) in enumerate(case["devices"])
    )
    return settings, devices, models[drafts[0]] if drafts else None


def _without_end(split: tuple[float, ...]) -> list[float]:
    """The recording stops at the last device that has layers."""
    used = [index for index, share in enumerate(split) if share]
    return list(split[: used[-1] + 1]) if used else []


@pytest.mark.parametrize("model", _CASES)
def test_the_answer_of_the_engine(model: str, models: dict[str, PreparedModel], every_case: EveryCase) -> None:
    every_case(_CASES[model], lambda case: _answers(case, models))


def _answers(case: dict[str, Any], models: dict[str, PreparedModel]) -> Iterator[Answer]:
    settings, devices, draft = _question(case, models)
    expected = case["expected"]
    model = models[case["model"]]
    found = fit(model, settings, devices, draft, host_total_bytes=_HOST_TOTAL_BYTES)
    assert isinstance(found, FitAnswer)
    chosen = found.parameters
    yield "status", found.status.value, expected["status"]
    if found.status is FitStatus.DIED:
        return
    if "message" in expected:
        yield "message", f"{found.message}, abort", expected["message"]
    yield "context", chosen.n_ctx, expected["chosen_c"]
    yield "layers", chosen.gpu_layers, expected["n_gpu_layers"]
    yield "split", _without_end(chosen.tensor_split), expected["tensor_split"]
    yield "overrides", [list(override) for override in chosen.overrides], expected["overrides"]
    if not expected["starts"] or settings.split_mode == "tensor":
        return
    planned = plan(model, settings_with(settings, chosen), devices, draft)
    assert isinstance(planned, MemoryPlan)
    assert planned.context is not None
    yield "n_ctx", planned.context.n_ctx, expected["n_ctx"]
    yield "n_ctx_seq", planned.context.n_ctx_seq, expected["n_ctx_seq"]
    yield from _amounts(planned, expected, settings, devices)


def _amounts(
    planned: MemoryPlan, expected: dict[str, Any], settings: LlamaSettings, devices: tuple[PlanDevice, ...]
) -> Iterator[Answer]:
    """Weights and caches to the byte, whatever the order that `--device` puts the cards in."""
    weights = dict.fromkeys((part.name for part in planned.devices), 0)
    caches = dict(weights)
    for source in ("by_device", "draft_by_device"):
        order = _order(settings, devices, is_draft=source == "draft_by_device")
        for name, amounts in expected.get(source, {}).items():
            weights[order[name]] += amounts["weights"]
            caches[order[name]] += amounts["kv"]
    yield "weights", {part.name: part.memory.bytes_of(Segment.WEIGHTS) for part in planned.devices}, weights
    yield "caches", {part.name: part.memory.bytes_of(*CACHES) for part in planned.devices}, caches


def _order(settings: LlamaSettings, devices: tuple[PlanDevice, ...], *, is_draft: bool) -> dict[str, str]:
    """The recording counts the devices of a model; here they keep their names."""
    chosen = settings.draft.devices if is_draft and settings.draft and settings.draft.devices else settings.devices
    named = [name.replace("CUDA", "gpu") for name in chosen] or [device.name for device in devices]
    if settings.split_mode == "none":
        named = [named[settings.main_gpu]]
    return {f"gpu{index}": name for index, name in enumerate(named)} | {"host": "host", "CPU_REPACK": "host"}


def test_a_row_split_cannot_be_measured_and_does_not_start(models: dict[str, PreparedModel]) -> None:
    case = next(case for case in _RECORDED[0]["cases"] if case["expected"]["status"] == "error")
    settings, devices, _ = _question(case, models)
    assert isinstance(plan(models[case["model"]], settings, devices), Refusal)


def test_the_context_of_a_prediction_block_computes_what_the_engine_does(models: dict[str, PreparedModel]) -> None:
    """To the page: a state and an embedding, normalised, joined and projected, then one block and its own head."""
    cases = [case for group in _CASES.values() for case in group.values() if "draft-mtp" in case["flags"]]
    compared = 0
    for case in cases:
        settings, devices, _ = _question(case, models)
        expected = case["expected"]
        chosen = Parameters(
            expected["chosen_c"],
            expected["n_gpu_layers"],
            tuple(expected["tensor_split"]),
            tuple((pattern, buffer) for pattern, buffer in expected["overrides"]),
        )
        loaded = settings_with(settings, chosen)
        target = plan_model(models[case["model"]], loaded, devices)
        assert isinstance(target, ModelPlan)
        second = plan_second(target, loaded, devices, None)
        assert isinstance(second, ModelPlan)
        computed = compute_of(second, loaded, is_second=True, as_projected=True)
        for name, due in expected["draft_by_device"].items():
            ours = computed[name].value_bytes if name in computed else 0
            assert abs((ours or 0) - due["compute"]) <= 4096, (case["id"], name)
            compared += 1
    assert compared >= 40
