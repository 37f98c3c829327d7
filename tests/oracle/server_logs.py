"""Memory lines that real servers of many builds printed, and the plans of the same commands."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

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
from kvtop.planning.llamacpp.rules.ranges import rules_for
from tests.oracle.cases import FIXTURE, header_of
from tests.oracle.recorded import recorded
from tools.record_oracle.llamacpp_wheels.recorder import FOLDER, models

BUILDS = sorted(
    (path.name.removesuffix(".json.gz") for path in (FIXTURE.parent / FOLDER).glob("*.json.gz")),
    key=lambda build: int(build[1:]),
)
MIB = 2**20
_PAST_MAIN = frozenset({"b7079"})
"""Wheels that start the server behind the part of `main` that makes four slots of one."""
SEGMENTS = {"KV": Segment.KV_CACHE, "RS": Segment.RECURRENT, "output": Segment.OUTPUT}
ROUNDED_MIB = 0.0051
"""A log has two decimals, and at most three lines of one kind."""


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """One case: `said` is amounts in MiB by kind, or the refusal."""

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


def rows_of(build: str) -> Iterator[LoggedRow]:
    """Every case whose options the build has."""
    for name, flags, said in recorded(f"{FOLDER}/{build}.json.gz")["rows"]:
        if said is not None:  # the build has the option
            yield LoggedRow(name, flags, said)


def planned(row: LoggedRow, build: str) -> MemoryPlan | Refusal:
    """The command by the rules of that build, on the CPU."""
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
    if build in _PAST_MAIN and "-np" not in words:
        settings = replace(settings, parallel=1)
    return plan(_prepared(row.model, build), replace(settings, fit=False), ())


def host_of(row: LoggedRow, build: str) -> DeviceShare:
    """What the plan puts in host memory."""
    answer = planned(row, build)
    assert isinstance(answer, MemoryPlan), (row, answer)
    host = answer.device("host")
    assert host is not None
    return host


def told(build: str) -> list[LoggedRow]:
    """Rows of logs that are whole: a few servers ended before their last line was written."""
    return [row for row in rows_of(build) if isinstance(row.said, dict) and "compute" in row.said]
