"""kvtop by the rules of many builds, against the memory lines that real servers of those builds printed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kvtop.domain.launch import LaunchOption, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import DeviceShare, MemoryPlan, Refusal
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.parse import (
    FLASH_ATTENTION_TAKES_A_VALUE,
    parse_llama_server,
    settings_of,
)
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.llamacpp.refusals import unknown_architecture
from kvtop.planning.llamacpp.rules.ranges import VERSIONS, rules_for
from tests.amounts import high_of, low_of, size_of
from tests.oracle.cases import FIXTURE, header_of
from tests.oracle.recorded import recorded
from tools.record_oracle.llamacpp_wheels.recorder import FOLDER, models

BUILDS = sorted(path.name.removesuffix(".json.gz") for path in (FIXTURE.parent / FOLDER).glob("*.json.gz"))
_MIB = 2**20
_UNKNOWN = re.compile(r"unknown model architecture")
_SEGMENTS = {"KV": Segment.KV_CACHE, "RS": Segment.RECURRENT, "output": Segment.OUTPUT}
_ROUNDED_MIB = 0.0051
"""A log has two decimals, and at most three lines of one kind."""


@dataclass(frozen=True, slots=True)
class _Row:
    model: str
    flags: str
    said: Any


@cache
def _headers() -> dict[str, GgufHeader]:
    return {
        name: header_of(name, model["kv"], [(*row, None)[:4] for row in model["tensors"]])
        for name, model in models(Path(FIXTURE.parent)).items()
    }


@cache
def _prepared(model: str, build: str) -> PreparedModel:
    return prepare(_headers()[model], rules_for(build))


def _rows(build: str) -> Iterator[_Row]:
    for name, flags, said in recorded(f"{FOLDER}/{build}.json.gz")["rows"]:
        if said is not None:  # the build has the option
            yield _Row(name, flags, said)


def _planned(row: _Row, build: str) -> MemoryPlan | Refusal:
    number = int(build.removeprefix("b"))
    words = row.flags.split()
    if number < FLASH_ATTENTION_TAKES_A_VALUE and "-fa" in words:
        place = words.index("-fa")
        words[place : place + 2] = ["-fa"] if words[place + 1] == "on" else []
    options = parse_llama_server(words, {}, strict=True, build=number)
    options = replace(options, engine_version=build)
    if "-np" not in words:  # the wheel's own default
        options = replace(options, options=(*options.options, LaunchOption("parallel", "1", Origin.ARGV, "-np")))
    refusal = unknown_architecture(_headers()[row.model].architecture, rules_for(build))
    if refusal is not None:
        return refusal
    settings = settings_of(options)
    if isinstance(settings, Refusal):
        return settings
    return plan(_prepared(row.model, build), replace(settings, fit=False), ())


def _host(row: _Row, build: str) -> DeviceShare:
    answer = _planned(row, build)
    assert isinstance(answer, MemoryPlan), (row, answer)
    host = answer.device("host")
    assert host is not None
    return host


def _told(build: str) -> list[_Row]:
    """Rows of logs that are whole: a few servers ended before their last line was written."""
    return [row for row in _rows(build) if isinstance(row.said, dict) and "compute" in row.said]


@pytest.mark.parametrize("build", BUILDS)
def test_caches_and_outputs_are_what_the_server_logs(build: str) -> None:
    rows, wrong = _told(build), []
    for row in rows:
        host = _host(row, build)
        for kind, segment in _SEGMENTS.items():
            got, due = size_of(host, segment) / _MIB, row.said.get(kind, 0)
            wrong += [] if abs(got - due) <= 3 * _ROUNDED_MIB else [(row.model, row.flags, kind, got, due)]
    assert len(rows) > 30
    assert not wrong


@pytest.mark.parametrize("build", BUILDS)
def test_compute_buffers_are_what_the_server_logs(build: str) -> None:
    """In range in 95 % of cases, and the middle one to 3 %."""
    ratios, outside = [], []
    for row in _told(build):
        host, due = _host(row, build), row.said["compute"]
        ratios.append(abs(size_of(host, Segment.COMPUTE) / _MIB / due - 1))
        low, high = low_of(host, Segment.COMPUTE) / _MIB, high_of(host, Segment.COMPUTE) / _MIB
        outside += [] if low - _ROUNDED_MIB <= due <= high + _ROUNDED_MIB else [(row.model, row.flags, low, due, high)]
    assert sorted(ratios)[len(ratios) // 2] <= 0.03
    assert len(outside) <= 0.05 * len(ratios), outside


@pytest.mark.parametrize("build", BUILDS)
def test_an_architecture_that_came_later_is_refused(build: str) -> None:
    for row in _rows(build):
        if isinstance(row.said, str) and _UNKNOWN.search(row.said):
            answer = _planned(row, build)
            assert isinstance(answer, Refusal), row
            assert "unknown model architecture" in answer.message


@pytest.mark.parametrize("build", BUILDS)
def test_the_build_lies_in_a_checked_range(build: str) -> None:
    assert any(each.holds(build) for each in VERSIONS)
