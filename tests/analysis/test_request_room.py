"""Whether one more request fits, and how long its first token takes."""

from dataclasses import replace

import pytest

from kvtop.analysis.usage.first_token import FirstToken
from kvtop.analysis.usage.rates import prompt_per_second
from kvtop.analysis.usage.request_room import request_room
from kvtop.domain.engine_report import PoolReport
from kvtop.domain.plan import ContextPlan, MemoryPlan
from kvtop.domain.server import Counters, ServerReading, ServerState, Slot

SERVER = ServerReading("127.0.0.1:8080", "llama.cpp", ServerState.READY)


def plan_of(n_ctx: int) -> MemoryPlan:
    context = ContextPlan(n_ctx, n_ctx, 4, True)
    return MemoryPlan("llama.cpp", "llama.cpp b11434", "m", "llama", (), 1.0, (), context=context)


def slots(context: int, *busy_tokens: int | None) -> ServerReading:
    """Slots of one context length: busy ones hold so many tokens, None is idle with a conversation left in it."""
    each = (Slot(i, context, 5000 if it is None else it, it is not None) for i, it in enumerate(busy_tokens))
    return replace(SERVER, slots=tuple(each))


def test_an_idle_slot_takes_a_request_whatever_it_still_holds() -> None:
    assert request_room(slots(16384, 9000, None, None, 100), None) == (2, 8192)
    assert request_room(slots(4096, 900, 900), None) == (0, 4096)


def test_slots_that_share_a_pool_have_its_room() -> None:
    reading = slots(32768, 14_000, 3_000, None, None)
    assert request_room(reading, plan_of(32768)) == (1, 8192)
    assert request_room(reading, plan_of(24_000)) == (0, 8192)


def test_a_pool_has_room_in_blocks_and_places() -> None:
    pool = PoolReport(0, 100_000, used_ratio=0.5)
    reading = replace(SERVER, engine="vllm", pools=(pool,), sequence_limit_tokens=4096)
    assert request_room(reading, None) == (12, 4096)
    crowded = replace(reading, concurrent_sequences_limit=8, counters=Counters(requests_processing=6.0))
    assert request_room(crowded, None) == (2, 4096)


@pytest.mark.parametrize(
    "reading",
    [
        SERVER,
        replace(SERVER, slots=(Slot(0, None, 10, False),)),
        replace(SERVER, slots=(Slot(0, 4096, 10, None),)),
        replace(SERVER, pools=(PoolReport(0, 100_000),)),
        replace(slots(4096, None), state=ServerState.SLEEPING),
    ],
)
def test_what_is_not_known_is_not_zero(reading: ServerReading) -> None:
    assert request_room(reading, None) == (None, None)


def test_the_first_token_takes_the_mean_of_the_last_minute() -> None:
    waits = FirstToken()
    totals = [(0.0, 0, 0), (10.0, 4, 2), (30.0, 10, 4), (75.0, 10, 4)]
    means = [
        waits.mean_seconds(at, Counters(first_token_seconds_total=seconds, first_token_requests_total=requests))
        for at, seconds, requests in totals
    ]
    assert means == [None, 2.0, 2.5, None]
    assert waits.mean_seconds(80.0, Counters()) is None


def test_a_server_that_was_started_again_counts_anew() -> None:
    waits = FirstToken()
    for at, requests in ((0.0, 100.0), (5.0, 104.0)):
        waits.mean_seconds(at, Counters(first_token_seconds_total=requests, first_token_requests_total=requests))
    assert waits.mean_seconds(9.0, Counters(first_token_seconds_total=1, first_token_requests_total=1)) is None


def test_prompts_are_counted_by_the_slots_that_read_them() -> None:
    before = replace(
        SERVER, slots=(Slot(0, 4096, 500, True, 0, prompt_read_tokens=500, task_id=1), Slot(1, 4096, 0, False))
    )
    now = replace(
        SERVER, slots=(Slot(0, 4096, 900, True, 0, prompt_read_tokens=900, task_id=1), Slot(1, 4096, 0, False))
    )
    other = replace(
        SERVER, slots=(Slot(0, 4096, 60, True, 0, prompt_read_tokens=60, task_id=2), Slot(1, 4096, 0, False))
    )
    assert prompt_per_second(before, now, 2.0) == 200.0
    assert prompt_per_second(now, other, 1.0) == 60.0
    asleep = replace(SERVER, state=ServerState.SLEEPING, counters=Counters(prompt_tokens_total=900.0))
    assert prompt_per_second(asleep, asleep, 1.0) is None
