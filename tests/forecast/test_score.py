"""The forecast on loads that were recorded from real engines: what it must reach, and that the score means it."""

from dataclasses import replace
from functools import lru_cache

import pytest

from kvtop.domain.headroom import Filling
from tests.forecast.loads import FOLDER, SUFFIX, Load, all_loads
from tests.forecast.score import Score, said, score_of, total
from tools.record_loads.shapes import SHAPES


@lru_cache(maxsize=1)
def loads() -> tuple[Load, ...]:
    return tuple(all_loads())


@lru_cache(maxsize=1)
def scores() -> tuple[Score, ...]:
    return tuple(map(score_of, loads()))


def test_every_load_is_a_shape_of_the_table() -> None:
    assert {load.name for load in loads()} == {shape.name for shape in SHAPES}
    assert len(SHAPES) >= 30
    assert {load.name.split("-")[0] for load in loads()} == {"llama", "vllm"}


def test_what_is_shown_comes_true_and_what_comes_was_shown() -> None:
    whole = total(list(scores()))
    assert whole.shown > 500
    assert whole.true / whole.shown >= 0.95, whole
    assert whole.fills - whole.sudden >= 15
    assert whole.warned / (whole.fills - whole.sudden) >= 0.95, whole


@pytest.mark.parametrize("load", [path.name.removesuffix(SUFFIX) for path in sorted(FOLDER.glob(f"*{SUFFIX}"))])
def test_the_verdict_stays(load: str) -> None:
    (score,) = [it for it in scores() if it.name == load]
    assert score.most_changes <= 2


@pytest.mark.parametrize("name", ["chat", "idle", "burst", "long-prompts", "batch", "busy-pool"])
def test_ordinary_traffic_has_no_countdown(name: str) -> None:
    ordinary = [it for it in scores() if name in it.name and "beside" not in it.name and "after" not in it.name]
    ordinary = [it for it in ordinary if "then" not in it.name]
    assert ordinary
    assert [(it.name, it.shown, it.open) for it in ordinary if it.shown or it.open] == []


def runaway() -> Load:
    (found,) = [load for load in loads() if load.name == "llama-runaway"]
    return found


def test_a_countdown_that_nothing_follows_is_false() -> None:
    load = runaway()
    good = score_of(load)
    assert (good.true, good.warned, good.fills) == (good.shown, 1, 1)
    empty = score_of(replace(load, fills=()))
    assert (empty.true, empty.fills) == (0, 0)
    late = score_of(replace(load, fills=(load.fills[0] + 300,)))
    assert (late.true, late.warned) == (0, 0)


def test_a_fill_that_comes_without_a_word_is_not_warned() -> None:
    silent = runaway()
    times = [at for at, _ in silent.readings]
    calm = replace(silent, readings=tuple((at, silent.readings[0][1]) for at in times))
    score = score_of(calm)
    assert (score.shown, score.fills, score.warned) == (0, 1, 0)


def test_a_full_slot_is_called_full() -> None:
    ticks = said(runaway())
    assert any(tick.filling.state is Filling.FULL for tick in ticks)
