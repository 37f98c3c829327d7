"""What-ifs of running servers, over every host of the demo: numbers equal a plan of the command that is told."""

import shlex
import time

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.domain.plan_answer import Fit
from kvtop.domain.what_if import WhatIfAnswer
from kvtop.planning.any_engine import plan_launch
from kvtop.planning.moves import Dial
from kvtop.sources.demo import SCENARIOS, Scenario
from kvtop.what_if_desk import LiveDesk


def scenario_named(name: str) -> Scenario:
    return next(it for it in SCENARIOS if it.name == name)


def desk_of(scenario: str) -> tuple[LiveDesk, tuple[str, ...]]:
    history, desk = History(), LiveDesk({"XDG_DATA_HOME": "/nonexistent"})
    for second in (7.0, 8.0):
        sample = scenario_named(scenario).at(second)
        desk.note(sample, analyse(history, sample, "test"))
    return desk, tuple(reading.id for reading in sample.servers)


def asked(desk: LiveDesk, server_id: str) -> WhatIfAnswer:
    found = desk.ask(server_id)
    assert isinstance(found, WhatIfAnswer)
    return found


@pytest.mark.parametrize("scenario", [it.name for it in SCENARIOS])
def test_every_dial_of_every_server_agrees_with_a_plan_of_the_same_options(scenario: str) -> None:
    desk, servers = desk_of(scenario)
    for server_id in servers:
        if isinstance(desk.ask(server_id), str):
            continue
        start = asked(desk, server_id)
        assert not start.is_changed
        standing = desk._standing(server_id)
        assert not isinstance(standing, str)
        # Untouched, then is now.
        assert isinstance(start.comparison.then, MemoryPlan)
        assert start.comparison.then.devices == standing.now.devices
        for dial in Dial:
            for step in (1, -1):
                desk.reset(server_id)
                for _ in range(3):
                    if not desk.turn(server_id, dial.value, step):
                        break
                    found = asked(desk, server_id).comparison
                    what_if = found.what_if
                    if isinstance(found.then, Refusal) or found.then is None:
                        assert found.note
                    if what_if.measured_pool_bytes is None and found.then is not None:
                        again = plan_launch(
                            what_if.launch,
                            standing.ground.model,
                            standing.ground.devices,
                            draft=standing.ground.draft,
                            at_tokens=what_if.at_tokens,
                        )
                        assert again == found.then
        desk.reset(server_id)
        assert not asked(desk, server_id).is_changed


def test_every_dial_has_an_end() -> None:
    desk, (server_id, *_) = desk_of("rtx4090_llamacpp")
    for dial in (Dial.CONTEXT, Dial.SLOTS, Dial.BATCH):
        for step in (1, -1):
            desk.reset(server_id)
            turns = 0
            while desk.turn(server_id, dial.value, step):
                turns += 1
                assert turns < 300


def test_the_measured_rest_stays_and_only_the_cache_moves() -> None:
    desk, (server_id, *_) = desk_of("rtx4090_llamacpp")
    before = asked(desk, server_id).comparison.devices[0]
    assert before.beyond_bytes > 0
    assert desk.turn(server_id, "context", -1)
    after = asked(desk, server_id).comparison.devices[0]
    assert after.beyond_bytes == before.beyond_bytes
    assert before.needed is not None
    assert after.needed is not None
    moved = sum(change.delta_bytes or 0 for change in after.segments)
    assert after.needed.value_bytes - before.needed.value_bytes == moved < 0


def test_the_command_has_the_change_and_no_secret() -> None:
    desk, (server_id, *_) = desk_of("rtx4090_llamacpp")
    plain = asked(desk, server_id).command
    desk.turn(server_id, "flash", 1)
    desk.turn(server_id, "flash", 1)
    desk.turn(server_id, "context", -1)
    found = asked(desk, server_id)
    words = shlex.split(found.command)
    assert words[words.index("--ctx-size") + 1] == dict(found.comparison.what_if.changes)["ctx-size"]
    assert len(words) >= len(shlex.split(plain))


def test_a_cell_of_the_frontier_becomes_the_what_if() -> None:
    desk, (server_id, *_) = desk_of("rtx4090_llamacpp")
    grid = desk.frontier(server_id)
    assert not isinstance(grid, str)
    assert grid.current is not None
    for row, line in enumerate(grid.rows):
        for column, cell in enumerate(line.cells):
            assert desk.adopt(server_id, row, column)
            found = asked(desk, server_id).comparison
            if isinstance(found.then, MemoryPlan):
                assert found.fit is cell.fit
    assert desk.frontier(server_id) is grid


def test_servers_without_a_plan_say_why() -> None:
    said = [
        desk.ask(server_id)
        for scenario in SCENARIOS
        for desk, servers in (desk_of(scenario.name),)
        for server_id in servers
        if isinstance(desk.ask(server_id), str)
    ]
    assert said
    assert all(said)
    desk, _ = desk_of("nothing")
    assert isinstance(desk.ask("127.0.0.1:1"), str)
    assert not desk.turn("127.0.0.1:1", "context", 1)


def test_recommendations_of_a_running_server_fit() -> None:
    desk, (server_id, *_) = desk_of("rtx4090_llamacpp")
    found = desk.recommend(server_id)
    assert not isinstance(found, str)
    assert found.items
    assert all(item.fit in {Fit.FITS, Fit.TIGHT} for item in found.items)


@pytest.mark.bench
def test_a_toggle_answers_within_fifty_milliseconds() -> None:
    desk, servers = desk_of("busy_32")
    for server_id in servers:
        desk.ask(server_id)
    slowest = 0.0
    for server_id in servers:
        started = time.perf_counter()
        desk.turn(server_id, "context", 1)
        desk.ask(server_id)
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 0.05
