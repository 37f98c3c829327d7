"""How good the forecast is on recorded loads: `make forecast`, or `python -m tests.forecast.score [NAME …]`."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from kvtop.analysis.usage.forecast import FULL_RATIO, Forecast
from kvtop.analysis.usage.limits import limits_of
from kvtop.analysis.usage.steady_verdict import SteadyVerdict
from kvtop.analysis.usage.verdict import FULL
from kvtop.domain.headroom import NO_HEADROOM, TimeToFull, Verdict
from tests.forecast.loads import FOLDER, Load, all_loads

AHEAD_SECONDS = 30.0
FACTOR = 2.0
SLACK_SECONDS = 2.0
"""Readings are a second apart, and what became of a request is known when its last byte arrives."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of one load, or of many.

    `shown`: seconds with a countdown whose time came within the recording; `true`: those that came true within a factor
    of two; `open`: those whose time lies beyond its end. `sudden`: fills of which less than half was there half a
    minute before, so that nothing could have told. `most_changes`: of the verdict within a minute.
    """

    name: str
    shown: int
    true: int
    open: int
    fills: int
    sudden: int
    warned: int
    most_changes: int


@dataclass(frozen=True, slots=True)
class Tick:
    """What was said at one second, and how full each limit was that something ran in."""

    at: float
    filling: TimeToFull
    verdict: Verdict
    uses: dict[str, float]


def said(load: Load) -> list[Tick]:
    """Everything that kvtop says of a load, second by second."""
    forecast, steady = Forecast(), SteadyVerdict()
    found = []
    for at, reading in load.readings:
        filling = forecast.now(at, reading, load.plan)
        verdict = steady.now(at, reading, filling, NO_HEADROOM)
        uses = {it.cause: (it.held or 0) / it.capacity for it in limits_of(reading, load.plan) if it.running}
        found.append(Tick(at, filling, verdict, uses))
    return found


def score_of(load: Load) -> Score:
    """The score of one load."""
    ticks = said(load)
    fills = [_began(ticks, fill) for fill in load.fills]
    countdowns = [tick for tick in ticks if tick.verdict.seconds is not None]
    ended = ticks[-1].at
    settled = [it for it in countdowns if _came_true(it, fills) or it.at + (it.verdict.seconds or 0) * FACTOR <= ended]
    true = sum(_came_true(tick, fills) for tick in settled)
    sudden = [fill for fill in fills if _use_before(ticks, fill) < 0.5]
    foreseen = [fill for fill in fills if fill not in sudden]
    warned = sum(any(_warns(tick, fill) for tick in countdowns) for fill in foreseen)
    still_open = len(countdowns) - len(settled)
    return Score(load.name, len(settled), true, still_open, len(fills), len(sudden), warned, _changes(ticks))


def _began(ticks: list[Tick], fill: float) -> float:
    """When the limit was met: what became of the request is known some seconds later."""
    before = [it.at for it in ticks if fill - 10 <= it.at <= fill and max(it.uses.values(), default=0.0) >= FULL_RATIO]
    return min(before, default=fill)


def _came_true(tick: Tick, fills: Iterable[float]) -> bool:
    seconds = tick.verdict.seconds
    assert seconds is not None, "a countdown"
    least, most = seconds / FACTOR - SLACK_SECONDS, seconds * FACTOR + SLACK_SECONDS
    return any(least <= fill - tick.at <= most for fill in fills)


def _warns(tick: Tick, fill: float) -> bool:
    """Said at least half a minute before, and of this fill."""
    return fill - tick.at >= AHEAD_SECONDS - 1 and _came_true(tick, (fill,))


def _use_before(ticks: list[Tick], fill: float) -> float:
    """How full the limit that was met then was half a minute before."""
    met = [it.uses for it in ticks if fill - 3 <= it.at <= fill and it.uses]
    cause = max(met[-1], key=lambda name: met[-1][name]) if met else ""
    before = [it.uses.get(cause, 0.0) for it in ticks if fill - AHEAD_SECONDS - 8 <= it.at <= fill - AHEAD_SECONDS]
    return max(before, default=0.0)


def _changes(ticks: list[Tick]) -> int:
    """The most changes of the verdict within a minute, numbers aside. A countdown that ends in full is none."""
    times = [
        later.at
        for earlier, later in pairwise(ticks)
        if earlier.verdict.kind != later.verdict.kind
        and not (earlier.verdict.seconds is not None and later.verdict.topic == FULL)
    ]
    return max((sum(1 for it in times if at - 60 < it <= at) for at in times), default=0)


def total(scores: list[Score]) -> Score:
    """All of them together."""
    return Score(
        "all",
        shown=sum(it.shown for it in scores),
        true=sum(it.true for it in scores),
        open=sum(it.open for it in scores),
        fills=sum(it.fills for it in scores),
        sudden=sum(it.sudden for it in scores),
        warned=sum(it.warned for it in scores),
        most_changes=max(it.most_changes for it in scores),
    )


def _share(part: int, whole: int) -> str:
    return f"{part}/{whole}" + (f" {part / whole:.0%}" if whole else "")


def _line(score: Score) -> str:
    true, warned = _share(score.true, score.shown), _share(score.warned, score.fills - score.sudden)
    return f"{score.name:34} {true:>14} {score.open:>5} {warned:>12} {score.sudden:>7} {score.most_changes:>8}"


def main() -> int:
    """Print the score of every load, and of all."""
    folder = FOLDER
    words = sys.argv[1:]
    if words and Path(words[0]).is_dir():
        folder = Path(words.pop(0))
    scores = [score_of(load) for load in all_loads(folder) if not words or load.name in words]
    print(f"{'load':34} {'came true':>14} {'open':>5} {'warned 30 s':>12} {'sudden':>7} {'changes':>8}")
    for score in [*scores, total(scores)]:
        print(_line(score))
    return 0


if __name__ == "__main__":
    sys.exit(main())
