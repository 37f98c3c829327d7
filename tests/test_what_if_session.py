"""What-ifs of running servers, over every host of the demo: numbers equal a plan of the command that is told."""

import shlex
import time
from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.app.what_if_session import WhatIfSession
from kvtop.domain.answers.room import Fit
from kvtop.domain.answers.what_if import WhatIfAnswer
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.adjustments import Knob
from kvtop.planning.registry import plan_launch
from kvtop.planning.what_if import expected
from kvtop.sources.demo import SCENARIOS, Scenario


def scenario_named(name: str) -> Scenario:
    return next(it for it in SCENARIOS if it.name == name)


def desk_of(scenario: str) -> tuple[WhatIfSession, tuple[str, ...]]:
    history, what_if_session = History(), WhatIfSession({"XDG_DATA_HOME": "/nonexistent"})
    for second in (7.0, 8.0):
        sample = scenario_named(scenario).at(second)
        what_if_session.note(sample, analyse(history, sample, "test"))
    return what_if_session, tuple(reading.id for reading in sample.servers)


def asked(what_if_session: WhatIfSession, server_id: str) -> WhatIfAnswer:
    found = what_if_session.ask(server_id)
    assert isinstance(found, WhatIfAnswer)
    return found


@pytest.mark.parametrize("scenario", [it.name for it in SCENARIOS])
def test_every_dial_of_every_server_agrees_with_a_plan_of_the_same_options(scenario: str) -> None:
    what_if_session, servers = desk_of(scenario)
    for server_id in servers:
        if isinstance(what_if_session.ask(server_id), str):
            continue
        start = asked(what_if_session, server_id)
        assert not start.is_changed
        standing = what_if_session._baseline(server_id)
        assert not isinstance(standing, str)
        # Untouched, then is now.
        assert isinstance(start.comparison.then, MemoryPlan)
        assert start.comparison.then.devices == standing.now.devices
        for knob in Knob:
            for step in (1, -1):
                what_if_session.reset(server_id)
                for _ in range(3):
                    if not what_if_session.turn(server_id, knob.value, step):
                        break
                    found = asked(what_if_session, server_id).comparison
                    what_if = found.what_if
                    if isinstance(found.then, Refusal) or found.then is None:
                        assert found.note
                    if found.then is not None:
                        # A restart fits itself to the memory that is free, and says what that changes.
                        anew = replace(standing.plan_context, is_restart=True)
                        launch, measured = expected(anew, what_if)
                        again = plan_launch(
                            launch,
                            standing.plan_context.model,
                            standing.plan_context.devices,
                            draft=standing.plan_context.draft,
                            at_tokens=what_if.at_tokens,
                            measured=measured,
                        )
                        assert again == found.then
        what_if_session.reset(server_id)
        assert not asked(what_if_session, server_id).is_changed


@pytest.mark.parametrize("scenario", [it.name for it in SCENARIOS if it.name != "busy_32"])
def test_a_dial_turned_and_turned_back_is_no_change(scenario: str) -> None:
    what_if_session, servers = desk_of(scenario)
    for server_id in servers:
        if isinstance(what_if_session.ask(server_id), str):
            continue
        for knob in Knob:
            # Finer steps of a length grow with it, and so do not meet again.
            if knob is not Knob.CONTEXT_FINE and what_if_session.turn(server_id, knob.value, 1):
                assert what_if_session.turn(server_id, knob.value, -1)
                assert not asked(what_if_session, server_id).is_changed, knob
            what_if_session.reset(server_id)


@pytest.mark.parametrize("scenario", [it.name for it in SCENARIOS])
def test_what_runs_fits(scenario: str) -> None:
    """What is there already is no question of an estimate, and what a driver hides is not nothing."""
    what_if_session, servers = desk_of(scenario)
    for server_id in servers:
        found = what_if_session.ask(server_id)
        if isinstance(found, WhatIfAnswer):
            assert found.comparison.fit in {Fit.FITS, Fit.UNKNOWN}
            grid = what_if_session.frontier(server_id)
            assert not isinstance(grid, str)
            if grid.current is not None:
                row, column = grid.current
                assert grid.rows[row].cells[column].changes == ()
                assert grid.rows[row].cells[column].fit in {Fit.FITS, Fit.UNKNOWN}


def test_an_estimate_that_moves_has_its_range_and_one_that_stays_has_none() -> None:
    what_if_session, (server_id, *_) = desk_of("filling_up")
    before = asked(what_if_session, server_id).comparison.devices[0].needed
    assert before.low_bytes == before.high_bytes
    what_if_session, (server_id, *_) = desk_of("rtx4090_llamacpp")
    assert what_if_session.turn(server_id, "context", 1)
    after = asked(what_if_session, server_id).comparison.devices[0].needed
    assert after.value_bytes is not None
    assert after.most_bytes is not None
    assert after.least_bytes < after.value_bytes < after.most_bytes


def test_where_a_driver_hides_what_a_server_holds_its_plan_stands_in() -> None:
    for scenario in ("wsl_na", "inside_container"):
        what_if_session, (server_id, *_) = desk_of(scenario)
        sample = scenario_named(scenario).at(8.0)
        card = asked(what_if_session, server_id).comparison.devices[0]
        free_bytes = sample.devices[0].memory.free_bytes
        assert card.needed.value_bytes is not None
        assert card.room_bytes is not None
        assert free_bytes is not None
        assert 0 <= free_bytes - (card.room_bytes - card.needed.value_bytes) < 64 * 2**20


def test_on_one_memory_what_a_server_holds_is_room_of_its_own() -> None:
    what_if_session, (server_id, *_) = desk_of("mac_mlx")
    sample = scenario_named("mac_mlx").at(8.0)
    host = next(it for it in sample.devices if it.is_host)
    (part,) = asked(what_if_session, server_id).comparison.devices
    assert part.room_bytes is not None
    assert part.room_bytes > (host.memory.free_bytes or 0)
    assert part.room_bytes <= min(it.memory.total_bytes or 0 for it in sample.devices)


def test_every_dial_has_an_end() -> None:
    what_if_session, (server_id, *_) = desk_of("rtx4090_llamacpp")
    for knob in (Knob.CONTEXT, Knob.SLOTS, Knob.BATCH):
        for step in (1, -1):
            what_if_session.reset(server_id)
            turns = 0
            while what_if_session.turn(server_id, knob.value, step):
                turns += 1
                assert turns < 300


def test_the_measured_rest_stays_and_only_the_cache_moves() -> None:
    what_if_session, (server_id, *_) = desk_of("rtx4090_llamacpp")
    before = asked(what_if_session, server_id).comparison.devices[0]
    assert before.beyond_bytes > 0
    assert what_if_session.turn(server_id, "context", -1)
    after = asked(what_if_session, server_id).comparison.devices[0]
    assert after.beyond_bytes == before.beyond_bytes
    moved = (after.then - after.now).total.value_bytes
    assert moved is not None
    assert (after.needed.value_bytes or 0) - (before.needed.value_bytes or 0) == moved < 0


def test_the_command_has_the_change_and_no_secret() -> None:
    what_if_session, (server_id, *_) = desk_of("rtx4090_llamacpp")
    plain = asked(what_if_session, server_id).command
    what_if_session.turn(server_id, "flash", 1)
    what_if_session.turn(server_id, "flash", 1)
    what_if_session.turn(server_id, "context", -1)
    found = asked(what_if_session, server_id)
    words = shlex.split(found.command)
    assert words[words.index("--ctx-size") + 1] == dict(found.comparison.what_if.changes)["ctx-size"]
    assert len(words) >= len(shlex.split(plain))


def test_a_cell_of_the_frontier_becomes_the_what_if() -> None:
    what_if_session, (server_id, *_) = desk_of("rtx4090_llamacpp")
    grid = what_if_session.frontier(server_id)
    assert not isinstance(grid, str)
    assert grid.current is not None
    for row, line in enumerate(grid.rows):
        for column, cell in enumerate(line.cells):
            assert what_if_session.adopt(server_id, row, column)
            found = asked(what_if_session, server_id).comparison
            if isinstance(found.then, MemoryPlan):
                # The grid is of the placement that stands; a restart may leave layers on the host instead.
                assert found.fit is cell.fit or (found.adjusted and cell.fit is not Fit.FITS)
    assert what_if_session.frontier(server_id) is grid


def test_servers_without_a_plan_say_why() -> None:
    said = [
        what_if_session.ask(server_id)
        for scenario in SCENARIOS
        for what_if_session, servers in (desk_of(scenario.name),)
        for server_id in servers
        if isinstance(what_if_session.ask(server_id), str)
    ]
    assert said
    assert all(said)
    what_if_session, _ = desk_of("nothing")
    assert isinstance(what_if_session.ask("127.0.0.1:1"), str)
    assert not what_if_session.turn("127.0.0.1:1", "context", 1)


def test_recommendations_of_a_running_server_fit() -> None:
    what_if_session, (server_id, *_) = desk_of("rtx4090_llamacpp")
    found = what_if_session.recommend(server_id)
    assert not isinstance(found, str)
    assert found.items
    assert all(item.fit in {Fit.FITS, Fit.TIGHT} for item in found.items)


@pytest.mark.bench
def test_a_toggle_answers_within_fifty_milliseconds() -> None:
    what_if_session, servers = desk_of("busy_32")
    for server_id in servers:
        what_if_session.ask(server_id)
    slowest = 0.0
    for server_id in servers:
        started = time.perf_counter()
        what_if_session.turn(server_id, "context", 1)
        what_if_session.ask(server_id)
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 0.05
