"""kvtop by the rules of many builds, against the memory lines that real servers of those builds printed."""

import re

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.plan import Refusal
from kvtop.planning.llamacpp.rules.ranges import VERSIONS
from tests.amounts import high_of, low_of, size_of
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
