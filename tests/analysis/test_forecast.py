"""When a cache will be full, which limit comes first, and when nothing may be said."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from kvtop.analysis.usage.forecast import Forecast
from kvtop.analysis.usage.steady_verdict import SteadyVerdict
from kvtop.domain.engine_report import PoolReport
from kvtop.domain.headroom import NO_HEADROOM, Filling, Ground, TimeToFull, Verdict
from kvtop.domain.plan import ContextPlan, MemoryPlan
from kvtop.domain.server import Counters, ServerReading, ServerState, Slot

SERVER = ServerReading("127.0.0.1:8080", "llama.cpp", ServerState.READY)


def plan_of(n_ctx: int, *, unified: bool) -> MemoryPlan:
    context = ContextPlan(n_ctx, n_ctx if unified else n_ctx // 2, 2, unified)
    return MemoryPlan("llama.cpp", "llama.cpp b11434", "m", "llama", (), 1.0, (), context=context)


def busy(number: int, used: int, generated: int, remaining: int | None = None, task: int = 1) -> Slot:
    return Slot(number, 4096, used, True, generated, remaining, task)


def after(readings: Iterable[ServerReading], plan: MemoryPlan | None = None) -> TimeToFull:
    """What is said of the last of these, which are a second apart."""
    forecast = Forecast()
    found = TimeToFull(Filling.UNKNOWN)
    for second, reading in enumerate(readings):
        found = forecast.now(float(second), reading, plan)
    return found


def slots(*each: Slot) -> ServerReading:
    return replace(SERVER, slots=each)


def runaway(remaining: int | None = None, seconds: int = 40) -> list[ServerReading]:
    return [slots(busy(0, 1500 + 30 * at, 900 + 30 * at, remaining and remaining - 30 * at)) for at in range(seconds)]


def test_one_reading_tells_no_time() -> None:
    found = after([slots(busy(0, 3000, 2000), Slot(1, 4096, 900, False))])
    assert (found.state, found.tokens_left) == (Filling.STEADY, 1096)


def test_an_answer_without_a_limit_that_has_come_far_meets_the_limit_of_its_slot() -> None:
    found = after(runaway())
    assert (found.state, found.cause, found.ground) == (Filling.GROWING, "slot 0", Ground.ANSWERS)
    assert found.tokens_left == 4096 - 1500 - 30 * 39
    assert found.seconds == pytest.approx(found.tokens_left / 30)
    assert found.tokens_per_second == pytest.approx(30.0)


def test_what_ends_before_the_limit_is_no_reason_to_count() -> None:
    found = after(runaway(remaining=2000))
    assert (found.state, found.seconds, found.addable_tokens) == (Filling.BOUNDED, None, 2000 - 30 * 39)
    assert after(runaway(remaining=2600)).state is Filling.GROWING, "one token more than there is room for"


def test_an_answer_that_has_just_begun_says_nothing() -> None:
    assert after([slots(busy(0, 3000 + 9 * at, 9 * at + 1)) for at in range(40)]).state is Filling.STEADY


def test_answers_are_expected_to_end_where_the_others_did() -> None:
    """An answer of 2,000 tokens is usual here."""
    before = [slots(busy(0, 300 + 100 * at, 100 + 100 * at)) for at in range(20)]
    ended = [slots(Slot(0, 4096, 2300, False, 0, None, 1))]
    again = [slots(busy(0, 2300 + 30 * at, 900 + 30 * at, task=2)) for at in range(30)]
    assert after([*before, *ended, *again]).state is Filling.STEADY
    assert after(again).state is Filling.GROWING


def test_a_prompt_that_is_read_is_not_extrapolated() -> None:
    assert after([slots(busy(0, 500 + 300 * at, 0)) for at in range(11)]).state is Filling.STEADY


def test_slots_of_one_pool_meet_its_limit_before_their_own() -> None:
    readings = [
        slots(busy(0, 900 + 15 * at, 700 + 15 * at), busy(1, 1000 + 15 * at, 700 + 15 * at)) for at in range(30)
    ]
    found = after(readings, plan_of(4096, unified=True))
    assert found.cause == "the pool of all slots"
    assert found.seconds == pytest.approx((4096 - 1900 - 30 * 29) / 30)
    assert after(readings, plan_of(8192, unified=False)).cause == "slot 1"


def test_an_idle_slot_of_a_shared_pool_gives_way() -> None:
    readings = [slots(busy(0, 900, 700, 10), Slot(1, 4096, 3190, False))] * 5
    assert after(readings, plan_of(4096, unified=True)).state is Filling.BOUNDED


def conversation(turn_tokens: int, turns: int, first: int = 200) -> list[ServerReading]:
    """A turn every eight seconds, each of an answer with a limit; then a pause of two."""
    found = []
    for turn in range(turns):
        base = first + turn * turn_tokens
        for at in range(6):
            grown = turn_tokens // 2 + at * turn_tokens // 12
            found.append(slots(busy(0, base + grown, 10 + at, turn_tokens // 2, task=turn)))
        found += [slots(Slot(0, 4096, base + turn_tokens, False, 0, None, turn))] * 2
    return found


def test_a_conversation_that_grows_is_told_by_its_peaks() -> None:
    found = after(conversation(280, 10))
    assert (found.state, found.cause, found.ground) == (Filling.GROWING, "slot 0", Ground.PEAKS)
    assert found.seconds == pytest.approx((4096 - 3000) / 35, rel=0.2)
    assert found.peak_ratio == pytest.approx(3000 / 4096)


def test_a_conversation_that_ends_takes_its_forecast_along() -> None:
    idle = [slots(Slot(0, 4096, 3000, False, 0, None, 9))] * 12
    assert after([*conversation(280, 10), *idle]).state is Filling.STEADY


def test_a_long_answer_alone_is_no_trend() -> None:
    readings = [slots(busy(0, 200 + 25 * at, 25 * at + 1, 3000 - 25 * at)) for at in range(110)]
    assert after(readings).state is Filling.BOUNDED


def test_nothing_runs_nothing_will_be_full() -> None:
    found = after([slots(Slot(0, 4096, 700, False), Slot(1, 4096, 0, False))] * 5)
    assert (found.state, found.tokens_left, found.seconds) == (Filling.STEADY, 4096, None)


def test_a_slot_that_was_filled_is_told_of_for_a_while() -> None:
    filled = [slots(busy(0, 4090, 3000)), *[slots(Slot(0, 4096, 4096, False))] * 5]
    found = after(filled)
    assert (found.state, found.cause) == (Filling.FULL, "slot 0")
    later = after([*filled, *[slots(Slot(0, 4096, 4096, False))] * 30])
    assert (later.state, later.filled, later.filled_seconds_ago) == (Filling.STEADY, "slot 0", 34.0)
    assert after([slots(Slot(0, 4096, 4096, False))] * 5).state is Filling.STEADY, (
        "an ended conversation refuses nobody"
    )


def test_unread_slots_are_unknown_and_not_steady() -> None:
    assert after([slots(Slot(0, 4096, None, True))] * 4).state is Filling.UNKNOWN
    assert after([slots(Slot(0, 4096, None, True), Slot(1, 4096, 96, False))] * 4).tokens_left is None
    assert after([SERVER] * 4).state is Filling.UNKNOWN


def pool(second: int, running: float = 6, **more: object) -> ServerReading:
    report = PoolReport(0, 100_000, used_ratio=min(0.3 + second / 100, 1.0), requests_running=running)
    reading = replace(SERVER, engine="vllm", sequence_limit_tokens=50_000, pools=(report,))
    return replace(reading, **more)  # type: ignore[arg-type]  # the caller names fields of ServerReading


def test_a_pool_is_told_by_its_growth_while_the_same_requests_run() -> None:
    found = after(pool(second) for second in range(46))
    assert (found.cause, found.ground) == ("the pool", Ground.ANSWERS)
    assert found.seconds == pytest.approx(25.0)
    assert after(pool(second, 6 + second // 5 % 2) for second in range(46)).state is Filling.STEADY


def test_a_pool_with_room_for_all_that_runs_cannot_fill() -> None:
    found = after(pool(second, 1) for second in range(46))
    assert (found.state, found.addable_tokens) == (Filling.BOUNDED, 0)


def filling_pool(max_concurrency: float, sequences: int | None) -> TimeToFull:
    report = PoolReport(0, 65_536, 512, 128, max_concurrency=max_concurrency, null_blocks=1, requests_running=8)
    server = replace(SERVER, engine="vllm", concurrent_sequences_limit=sequences)
    made: Callable[[int], ServerReading] = lambda at: replace(  # noqa: E731  one expression, used once
        server, pools=(replace(report, used_ratio=(at * 8 + 1) / 511),)
    )
    return after(made(second) for second in range(46))


def test_a_pool_with_room_for_every_request_is_never_full() -> None:
    """Eight requests of 2,048 tokens at most, and room for 31.9 of them: the null block holds nothing."""
    found = filling_pool(32.0, 8)
    assert (found.state, found.seconds) == (Filling.BOUNDED, None)
    assert filling_pool(32.0, 31).state is Filling.BOUNDED
    for crowded in (filling_pool(32.0, 32), filling_pool(32.0, None)):
        assert crowded.state is Filling.GROWING
        assert crowded.seconds == pytest.approx((511 - 361) / 8, rel=0.05)


def test_a_pool_is_full_when_requests_wait_although_more_may_run() -> None:
    waiting = Counters(requests_processing=6, requests_waiting=2)
    assert after([pool(50, counters=waiting, concurrent_sequences_limit=8)] * 3).state is Filling.FULL
    assert after([pool(50, counters=waiting, concurrent_sequences_limit=6)] * 3).state is Filling.STEADY
    assert after([pool(10, counters=waiting, concurrent_sequences_limit=8)] * 3).state is not Filling.FULL


def test_a_server_that_sleeps_has_no_room_to_tell_of() -> None:
    asleep = replace(slots(Slot(0, 4096, 100, False)), state=ServerState.SLEEPING)
    assert after([asleep, asleep]) == TimeToFull(Filling.STEADY)


def test_a_clock_that_goes_back_starts_anew() -> None:
    forecast = Forecast()
    for at, reading in enumerate(runaway()):
        forecast.now(float(at), reading, None)
    assert forecast.now(3.0, runaway()[-1], None).state is Filling.STEADY


def verdicts(*each: tuple[float, TimeToFull, float]) -> list[str]:
    """The words shown at these seconds of these forecasts, with so many requests waiting."""
    steady = SteadyVerdict()
    shown: list[Verdict] = []
    for at, filling, waiting in each:
        reading = replace(SERVER, counters=Counters(requests_waiting=waiting))
        shown.append(steady.now(at, reading, filling, NO_HEADROOM))
    return [it.words for it in shown]


CALM = TimeToFull(Filling.STEADY)


def test_a_queue_that_comes_and_goes_is_one_verdict() -> None:
    words = verdicts(*((float(at), CALM, float(at % 5 == 0)) for at in range(60)))
    assert set(words) == {"requests wait", "steady"} - {"steady"} or words.count("steady") == 60
    lasting = verdicts(*((float(at), CALM, float(10 <= at < 30)) for at in range(70)))
    assert [lasting[9], lasting[12], lasting[14], lasting[40], lasting[60]] == [
        *("steady", "steady", "requests wait", "requests wait", "steady")
    ]


def test_a_countdown_ends_at_once_and_begins_no_more_than_twice_a_minute() -> None:
    soon = TimeToFull(Filling.GROWING, 118.0, "slot 0")
    words = verdicts((0, CALM, 0), (10, soon, 0), (20, CALM, 0), (30, soon, 0), (75, soon, 0))
    assert words == ["steady", "full in 1m55s", "steady", "steady", "full in 1m55s"]


def test_a_full_cache_is_told_at_once() -> None:
    full = TimeToFull(Filling.FULL, cause="slot 0")
    words = verdicts((0, CALM, 0), (1, TimeToFull(Filling.GROWING, 20.0), 0), (2, CALM, 0), (3, full, 0))
    assert words[-1] == "slot 0 is full"
