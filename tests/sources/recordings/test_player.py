"""The cursor of a replay."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from kvtop.sources.demo import EPOCH, SCENARIOS
from kvtop.sources.recordings.framing import record_index
from kvtop.sources.recordings.player import SPEEDS, Player
from kvtop.sources.recordings.reader import Recording

Record = Callable[..., Path]


async def test_it_plays_every_tick_in_order_and_stops_at_the_end(record: Record) -> None:
    player = Player(Recording(record(SCENARIOS[0], 30)), speed=1000.0)
    seen = []
    async for sample in player.samples():
        seen.append(sample.taken_at - EPOCH)
        if player.is_at_end:
            break
    assert seen == [float(second) for second in range(30)]


async def test_at_the_end_it_waits_and_a_move_wakes_it(record: Record) -> None:
    player = Player(Recording(record(SCENARIOS[0], 5)), index=4, speed=1000.0)
    samples = player.samples()
    assert (await anext(samples)).taken_at == EPOCH + 4
    waiting = asyncio.ensure_future(anext(samples))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert not player.is_playing
    player.seek(EPOCH + 1.5)
    assert (await waiting).taken_at == EPOCH + 1
    player.step(-1)
    assert (await anext(samples)).taken_at == EPOCH
    player.step(-7)
    player.step(100)
    assert (await anext(samples)).taken_at == EPOCH + 4
    player.play()
    assert (await anext(samples)).taken_at == EPOCH


async def test_pause_holds(record: Record) -> None:
    player = Player(Recording(record(SCENARIOS[0], 50)), speed=500.0)
    samples = player.samples()
    await anext(samples)
    player.pause()
    waiting = asyncio.ensure_future(anext(samples))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    player.toggle()
    await asyncio.wait_for(waiting, 120)


def test_seeking_by_seconds_moves_by_a_tick_at_least(record: Record) -> None:
    player = Player(Recording(record(SCENARIOS[0], 50)), index=10)
    player.seek_by(0.1)
    assert player.index == 11
    player.seek_by(-0.1)
    assert player.index == 10
    player.seek_by(20.0)
    assert (player.index, player.elapsed_seconds, player.duration_seconds) == (30, 30.0, 49.0)
    player.seek_by(-1000.0)
    assert player.index == 0


def test_speeds(record: Record) -> None:
    player = Player(Recording(record(SCENARIOS[0], 2)))
    for _ in SPEEDS:
        player.change_speed(1)
    assert player.speed == SPEEDS[-1]
    player.change_speed(-1)
    assert player.speed == SPEEDS[-2]
    with pytest.raises(ValueError, match="above 0"):
        player.set_speed(0.0)


def test_a_damaged_tick_shows_the_one_before_and_says_so(record: Record) -> None:
    path = record(SCENARIOS[0], 20)
    content = bytearray(path.read_bytes())
    content[record_index(bytes(content), "x").ticks[10].offset] ^= 1
    path.write_bytes(content)
    player = Player(Recording(path))
    assert player.sample(12).taken_at == EPOCH + 9
    assert "damaged" in player.problem
