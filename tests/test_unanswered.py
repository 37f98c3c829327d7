"""A named endpoint that does not answer, and processes that were not looked at in time, are never passed over."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.app.unanswered import unanswered
from kvtop.domain.frame import Frame
from kvtop.domain.sample import PROCESSES, Failure, Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.views.export.snapshot.formats import render
from kvtop.views.text.plain_lines import Announcer
from tests.command import kvtop


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot to compare with."""
    path = tmp_path_factory.mktemp("unanswered") / "before.json"
    assert kvtop("snapshot", "--no-discover", "-o", str(path)).returncode == 0
    return path


@pytest.mark.parametrize("flag", ["--url", "--prometheus"])
@pytest.mark.parametrize("verb", ["snapshot", "lint", "doctor", "diff"])
def test_a_named_endpoint_that_does_not_answer_is_1_and_a_sentence(
    verb: str, flag: str, before: Path, dead_address: str
) -> None:
    sides = (str(before), "live") if verb == "diff" else ()
    done = kvtop(verb, *sides, "--no-discover", flag, f"http://{dead_address}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"kvtop: {dead_address} did not answer: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout


def test_without_processes_and_endpoints_there_is_nothing_to_look_at(before: Path) -> None:
    assert kvtop("lint", "--no-discover").returncode == 3
    assert kvtop("doctor", "--no-discover", "--json").returncode in {1, 3}  # 1: a driver that failed
    assert json.loads(before.read_text(encoding="utf-8"))["servers"] == []


def _args(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{"url": [], "demo": None, "prometheus": None, **given})


@pytest.mark.parametrize(
    ("state", "is_answer"),
    [
        (ServerState.READY, True),
        (ServerState.LOADING, True),
        (ServerState.SLEEPING, True),
        (ServerState.LOCKED, True),
        (ServerState.UNREACHABLE, False),
        (ServerState.ERROR, False),
        (ServerState.UNKNOWN, False),
    ],
)
def test_what_counts_as_an_answer(state: ServerState, is_answer: bool) -> None:
    reading = ServerReading("h:1", "llama.cpp", state, url="http://user:secret@h:1", hint="why")
    found = unanswered(_args(url=["http://user:secret@h:1"]), [reading])
    assert found == (() if is_answer else ("h:1 did not answer: why",))


def test_an_endpoint_without_a_reading_and_a_cluster_that_failed() -> None:
    assert unanswered(_args(url=["http://h:1"]), []) == ("h:1 did not answer: no answer in time",)
    failures = [Failure("p:9", "refused"), Failure("target x", "down")]
    assert unanswered(_args(prometheus="http://p:9"), [], failures) == ("p:9 did not answer: refused",)


@pytest.fixture
def looking() -> Frame:
    """A look whose list of processes is late."""
    return analyse(History(), Sample(1.0, "h", pending=(PROCESSES,)), "1")


def test_not_looked_at_yet_is_never_none(looking: Frame) -> None:
    assert "have not been looked at yet" in unanswered(_args(), [], (), looking.pending)[0]
    done = replace(looking, pending=())
    assert "No servers were found." in render(done, "markdown")
    assert "No servers were found." not in render(looking, "markdown")
    for wanted in ("markdown", "html"):
        assert "Not looked at yet: processes." in render(looking, wanted)
        assert "Not looked at yet" not in render(done, wanted)
    assert json.loads(render(looking, "json"))["pending"] == ["processes"]
    assert next(Announcer().lines(looking)) == "Host h: 0 devices, servers not looked for yet."
    assert next(Announcer().lines(done)) == "Host h: 0 devices, 0 servers."
