"""kvtop by the rules of many builds, against the memory lines that real servers of those builds printed."""

import re
from dataclasses import replace

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.llamacpp.rules.ranges import VERSIONS, rules_for
from tests.amounts import high_of, low_of, size_of
from tests.oracle.cases import FIXTURE, MORE_MODELS, load_oracle
from tests.oracle.server_logs import BUILDS, MIB, ROUNDED_MIB, SEGMENTS, host_of, planned, rows_of, told

_UNKNOWN = re.compile(r"unknown model architecture")


@pytest.mark.parametrize("build", BUILDS)
def test_caches_and_outputs_are_what_the_server_logs(build: str) -> None:
    rows, wrong = told(build), []
    for row in rows:
        host = host_of(row, build)
        for kind, segment in SEGMENTS.items():
            got, due = size_of(host, segment) / MIB, row.said.get(kind, 0)
            wrong += [] if abs(got - due) <= 3 * ROUNDED_MIB else [(row.model, row.flags, kind, got, due)]
    assert len(rows) > 30
    assert not wrong


@pytest.mark.parametrize("build", BUILDS)
def test_compute_buffers_are_what_the_server_logs(build: str) -> None:
    """In range in 95 % of cases, and the middle one to 3 %."""
    ratios, outside = [], []
    for row in told(build):
        host, due = host_of(row, build), row.said["compute"]
        ratios.append(abs(size_of(host, Segment.COMPUTE) / MIB / due - 1))
        low, high = low_of(host, Segment.COMPUTE) / MIB, high_of(host, Segment.COMPUTE) / MIB
        outside += [] if low - ROUNDED_MIB <= due <= high + ROUNDED_MIB else [(row.model, row.flags, low, due, high)]
    assert sorted(ratios)[len(ratios) // 2] <= 0.03
    assert len(outside) <= 0.05 * len(ratios), outside


@pytest.mark.parametrize("build", BUILDS)
def test_an_architecture_that_came_later_is_refused(build: str) -> None:
    for row in rows_of(build):
        if isinstance(row.said, str) and _UNKNOWN.search(row.said):
            answer = planned(row, build)
            assert isinstance(answer, Refusal), row
            assert "unknown model architecture" in answer.message


@pytest.mark.parametrize("build", BUILDS)
def test_the_build_lies_in_a_checked_range(build: str) -> None:
    assert any(each.holds(build) for each in VERSIONS)


@pytest.mark.parametrize(
    ("build", "model", "api", "words", "logged"),
    [
        ("b9294", "qwen3.5-27b", "cuda", "-c 32768 -np 1", {"gpu0": 495.0, "host": 84.02}),
        ("b9093", "qwen3-8b", "rocm", "-c 8192 -fa on -ctk q4_0 -ctv q4_0", {"gpu0": 304.75}),
        ("b7079", "gpt-oss-20b", "metal", "-c 131072 -ub 2048 -np 1 -kvu", {"gpu0": 1672.08, "host": 1064.59}),
        ("b8672", "qwen3.5-27b", "metal", "-c 260096", {"gpu0": 852.49, "host": 528.02}),
    ],
)
def test_compute_buffers_on_cards_are_what_public_logs_say(
    build: str, model: str, api: str, words: str, logged: dict[str, float]
) -> None:
    """Logs that people posted with their trouble; of the build nearest to their date, where they name none."""
    path = FIXTURE if model != "qwen3.5-27b" else MORE_MODELS
    options = parse_llama_server([*words.split(), "-ngl", "99", "-fit", "off"], {})
    settings = settings_of(replace(options, engine_version=build))
    assert isinstance(settings, LlamaSettings)
    device = PlanDevice("gpu0", 128 * 2**30, compute_api=api)
    answer = plan(prepare(load_oracle(path).headers[model], rules_for(build)), settings, (device,))
    assert isinstance(answer, MemoryPlan)
    for name, due in logged.items():
        held = answer.device(name)
        assert held is not None
        assert low_of(held, Segment.COMPUTE) / MIB <= due <= high_of(held, Segment.COMPUTE) / MIB, name
        if name == "host":
            assert size_of(held, Segment.COMPUTE) / MIB == pytest.approx(due, abs=ROUNDED_MIB)
