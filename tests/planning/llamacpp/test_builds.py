"""kvtop by the rules of other builds, against what those builds answered to the same cases."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan, Refusal
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.llamacpp.refusals import unknown_architecture
from kvtop.planning.llamacpp.rules.ranges import VERSIONS, rules_for
from tests.amounts import high_of, low_of, size_of
from tests.oracle.cases import FIXTURE, MORE_MODELS, load_architectures, load_oracle, load_placements
from tests.oracle.recorded import recorded

FOLDER = FIXTURE.parent / "llama.cpp"
BUILDS = sorted(path.name for path in FOLDER.iterdir())
_OF_THE_FILE = re.compile(r"wrong number of tensors|missing tensor|has wrong shape|wrong array length")
"""Complaints about a file that is as b11434 writes it. kvtop does not check a file's tensors."""
_OF_ANOTHER_OPTION = "the engine ended without a word"
_HOST_BY_32_BYTES = "kimi-linear-moe"
"""b9760 leaves one f32 of a layer in host memory."""


@cache
def _prepared(name: str, fixture: Path, build: str) -> PreparedModel | Refusal:
    headers = load_oracle(fixture).headers if fixture in {FIXTURE, MORE_MODELS} else load_architectures()[0]
    refusal = unknown_architecture(headers[name].architecture, rules_for(build))
    return refusal or prepare(headers[name], rules_for(build))


def _weights_and_cache(device: DeviceShare) -> tuple[int, int]:
    return (
        size_of(device, Segment.WEIGHTS),
        size_of(device, Segment.KV_CACHE) + size_of(device, Segment.RECURRENT),
    )


def _errors(expected: Any) -> str:  # noqa: ANN401  a text, lines of them, or an answer
    found = expected.get("error", "") if isinstance(expected, dict) else expected
    return " ".join(found) if isinstance(found, list) else str(found)


def _pairs(build: str, fixture: Path) -> Iterator[tuple[Any, Any]]:
    answers = recorded(f"llama.cpp/{build}/{fixture.name}")["cases"]
    for case, answer in zip(load_oracle(fixture).cases, answers, strict=True):
        errors = _errors(answer["expected"])
        if not _OF_THE_FILE.search(errors) and errors != _OF_ANOTHER_OPTION:
            yield case, answer["expected"]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("fixture", [FIXTURE, MORE_MODELS], ids=lambda path: path.name)
def test_weights_and_caches_of_a_build_are_exact(build: str, fixture: Path) -> None:
    wrong: list[tuple[object, ...]] = []
    asked = 0
    for case, expected in _pairs(build, fixture):
        model = _prepared(case.model, fixture, build)
        answer = model if isinstance(model, Refusal) else plan(model, case.settings, case.devices)
        asked += 1
        if "error" in expected:
            known = isinstance(answer, Refusal) and answer.message.split(";")[0] in _errors(expected)
            wrong += [] if known else [(case.id, answer)]
            continue
        assert isinstance(answer, MemoryPlan), (case.id, answer)
        for name, due in expected["by_device"].items():
            device = answer.device(name)
            assert device is not None
            got = _weights_and_cache(device)
            wrong += [] if got == (due["weights"], due["kv"]) else [(case.id, name, got, due)]
    assert asked > 300
    assert not wrong


@pytest.mark.parametrize("build", BUILDS)
def test_tiny_models_of_a_build_are_exact(build: str) -> None:
    wrong: list[tuple[object, ...]] = []
    asked = 0
    answers = recorded(f"llama.cpp/{build}/llamacpp_placement.json.gz")["cases"]
    for case, (_, _, _, expected) in zip(load_placements(), answers, strict=True):
        if case.model == _HOST_BY_32_BYTES or (isinstance(expected, str) and _OF_THE_FILE.search(expected)):
            continue
        model = _prepared(case.model, Path(), build)
        answer = model if isinstance(model, Refusal) else plan(model, case.settings, case.devices)
        asked += 1
        if isinstance(expected, str):
            wrong += [] if isinstance(answer, Refusal) else [(case.model, expected)]
            continue
        assert isinstance(answer, MemoryPlan), (case.model, answer)
        got = {device.name: list(_weights_and_cache(device)) for device in answer.devices}
        wrong += [] if got == expected else [(case.model, case.settings, got, expected)]
    assert asked > 1000
    assert not wrong


@pytest.mark.parametrize("build", BUILDS)
def test_compute_buffers_of_a_build_lie_in_their_ranges(build: str) -> None:
    """At least 94 %, and the middle one to 3 %; a sixth of the cases."""
    ratios, inside = [], 0
    for fixture in (FIXTURE, MORE_MODELS):
        for case, expected in list(_pairs(build, fixture))[::6]:
            model = _prepared(case.model, fixture, build)
            answer = model if isinstance(model, Refusal) else plan(model, case.settings, case.devices)
            if "error" in expected or not isinstance(answer, MemoryPlan):
                continue
            for name, due in expected["by_device"].items():
                device = answer.device(name)
                if device is not None and due["compute"]:
                    ratios.append(abs(size_of(device, Segment.COMPUTE) / due["compute"] - 1))
                    low, high = low_of(device, Segment.COMPUTE), high_of(device, Segment.COMPUTE)
                    inside += low <= due["compute"] <= high
    assert len(ratios) > 300
    assert inside / len(ratios) >= 0.94
    assert sorted(ratios)[len(ratios) // 2] <= 0.03


def test_every_recorded_build_has_a_checked_range() -> None:
    for build in BUILDS:
        assert any(each.holds(build) for each in VERSIONS), build
