"""The Recording screen's player over a real recording of a scenario."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.app import replay_player
from kvtop.app.replay import replayed
from kvtop.app.replay_player import ReplayPlayer
from kvtop.sources.demo import scenario
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.player import Player
from kvtop.sources.recordings.reader import Recording
from kvtop.sources.recordings.writer import RecordingWriter
from kvtop.views.tui.state.player import SupportsReplay


def controls_of(tmp_path: Path) -> tuple[ReplayPlayer, Player]:
    path = tmp_path / "host.kvtop"
    chosen = scenario("rtx4090_llamacpp")
    writer = RecordingWriter(path, Info("1", 1.0))
    for second in range(20):
        writer.write(chosen.at(float(second)))
    writer.close()
    player = Player(Recording(path), playing=False)
    return ReplayPlayer(player, "host.kvtop"), player


def test_it_is_what_the_screen_needs(tmp_path: Path) -> None:
    controls, _ = controls_of(tmp_path)
    screen: SupportsReplay = controls
    assert (screen.name, screen.duration_seconds, screen.position_seconds) == ("host.kvtop", 19.0, 0.0)
    screen.seek(7.4)
    assert screen.position_seconds == 7.0
    screen.step(2)
    assert screen.position_seconds == 9.0
    screen.seek(1e9)
    assert screen.position_seconds == 19.0
    screen.set_speed(5.0)
    assert screen.speed == 5.0
    screen.toggle()
    assert screen.is_playing


async def test_frames_pass_through_and_move_with_it(tmp_path: Path) -> None:
    controls, _ = controls_of(tmp_path)
    frames = controls.noting(replayed(controls._player))()
    first = await anext(frames)
    controls.seek(12.0)
    second = await asyncio.wait_for(anext(frames), 120)
    assert second.taken_at - first.taken_at == 12.0


async def test_it_jumps_to_findings_that_take_several_ticks_to_see_both_ways(tmp_path: Path) -> None:
    path, chosen = tmp_path / "host.kvtop", scenario("filling_up")
    writer = RecordingWriter(path, Info("1", 1.0))
    for second in range(112):
        writer.write(chosen.at(float(second)))
    writer.close()
    recording = Recording(path)
    history, before, appear = History(), frozenset[str](), []
    for index in range(112):
        views = analyse(history, recording.sample(index), "1").servers
        now = frozenset(f"{view.reading.id} {it.code}" for view in views for it in view.findings)
        appear += [index] if now - before else []
        before = now
    assert len(appear) > 2, "growth and preemptions are seen over several ticks"
    player = Player(recording)
    seen: list[float] = []
    controls, met = ReplayPlayer(player, "host.kvtop"), [0]
    while await controls.to_finding(1, seen.append):
        met.append(player.index)
        assert not player.is_playing
    assert met == appear
    player.seek(recording.times[-1])
    back = []
    while await controls.to_finding(-1, seen.append):
        back.append(player.index)
    assert back == appear[::-1]


async def test_a_long_search_lets_the_screen_go_on_and_ends_with_another_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It rests after every tick, however quick the machine is.
    monkeypatch.setattr(replay_player, "_WORK_SECONDS", 0.0)
    monkeypatch.setattr(replay_player, "_REST_SECONDS", 0.0)
    path, chosen = tmp_path / "host.kvtop", scenario("rtx4090_llamacpp")
    writer = RecordingWriter(path, Info("1", 1.0))
    calm = chosen.at(0.0)
    for second in range(100):
        writer.write(replace(calm, taken_at=calm.taken_at + second))
    writer.close()
    player = Player(Recording(path), index=50)
    controls, before_the_move = ReplayPlayer(player, "host.kvtop"), list[float]()
    search = asyncio.create_task(controls.to_finding(1, before_the_move.append))
    while not before_the_move:
        await asyncio.sleep(0)
    assert not search.done()
    assert not player.is_playing
    controls.seek(5.0)
    assert await search
    assert controls.position_seconds == 5.0
    assert before_the_move[-1] < 99
    whole = list[float]()
    assert not await controls.to_finding(1, whole.append), "nothing new appears in it"
    assert whole == sorted(whole)
    assert whole[-1] == 99
    assert controls.position_seconds == 5.0
