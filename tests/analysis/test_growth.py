"""When a cache will be full, and which limit comes first."""

from dataclasses import replace

import pytest

from kvtop.analysis.usage.growth import WINDOW_SECONDS, Watched, held_memory, held_tokens, memory_to_full, time_to_full
from kvtop.domain.device import Device, DeviceMemory
from kvtop.domain.engine_report import PoolReport
from kvtop.domain.figure import Basis, Figure
from kvtop.domain.headroom import Filling, TimeToFull
from kvtop.domain.plan import ContextPlan, MemoryPlan
from kvtop.domain.server import ServerReading, ServerState, Slot
from kvtop.sources.devices.apple import APPLE

GIB = 2**30
SERVER = ServerReading("127.0.0.1:8080", "llama.cpp", ServerState.READY)


def plan_of(n_ctx: int, *, unified: bool) -> MemoryPlan:
    context = ContextPlan(n_ctx, n_ctx if unified else n_ctx // 2, 2, unified)
    return MemoryPlan("llama.cpp", "llama.cpp b11434", "m", "llama", (), 1.0, (), context=context)


def slots(*rows: tuple[int, int, bool]) -> ServerReading:
    """Slots of (context, used, processing)."""
    made = tuple(Slot(index, context, used, busy) for index, (context, used, busy) in enumerate(rows))
    return replace(SERVER, slots=made)


def after(readings: list[ServerReading], plan: MemoryPlan | None = None, step_seconds: float = 1.0) -> TimeToFull:
    watched = Watched()
    for index, reading in enumerate(readings):
        watched.add(index * step_seconds, held_tokens(reading))
    return time_to_full(watched, readings[-1], plan)


def test_one_reading_tells_no_rate() -> None:
    found = after([slots((4096, 100, True), (4096, 900, True))])
    assert (found.state, found.tokens_left) == (Filling.UNKNOWN, 3196)


def test_a_slot_meets_its_own_limit_at_its_own_pace() -> None:
    found = after([slots((4096, 1000 + 10 * second, True), (4096, 2000, False)) for second in range(11)])
    assert found.state is Filling.GROWING
    assert (found.cause, found.tokens_left) == ("slot 0", 4096 - 1100)
    assert found.seconds == pytest.approx((4096 - 1100) / 10)


def test_slots_of_one_pool_meet_its_limit_before_their_own() -> None:
    readings = [slots((4096, 1000 + 10 * second, True), (4096, 1500 + 10 * second, True)) for second in range(6)]
    found = after(readings, plan_of(4096, unified=True))
    assert found.cause == "the pool of all slots"
    assert found.seconds == pytest.approx((4096 - 2600) / 20)
    assert after(readings, plan_of(8192, unified=False)).cause == "slot 1"


def test_nothing_grows_nothing_will_be_full() -> None:
    found = after([slots((4096, 700, False), (4096, 0, False)) for _ in range(5)])
    assert (found.state, found.tokens_left, found.seconds) == (Filling.STEADY, 3396, None)


def test_a_new_request_starts_the_measure_anew() -> None:
    used = [3000, 3100, 3200, 500, 510, 520, 530]
    found = after([slots((4096, tokens, True)) for tokens in used])
    assert found.tokens_per_second == pytest.approx(10.0)


def test_a_full_slot_is_full_only_while_somebody_waits_for_it() -> None:
    busy, idle = [slots((4096, 4096, True))] * 4, [slots((4096, 4096, False))] * 4
    assert after(busy).state is Filling.FULL
    assert after(idle).state is Filling.STEADY


def test_unread_slots_are_unknown_and_not_steady() -> None:
    reading = replace(SERVER, slots=(Slot(0, 4096, None, True),))
    assert after([reading] * 4).state is Filling.UNKNOWN
    half = replace(SERVER, slots=(Slot(0, 4096, None, True), Slot(1, 4096, 96, False)))
    assert after([half] * 4).tokens_left is None
    assert after([SERVER] * 4).state is Filling.UNKNOWN


def test_a_pool_is_told_by_its_ratio() -> None:
    readings = [
        replace(SERVER, engine="vllm", pools=(PoolReport(0, 100_000, used_ratio=0.5 + second / 100),))
        for second in range(6)
    ]
    found = after(readings)
    assert found.cause == "the pool"
    assert found.seconds == pytest.approx(45.0)


def filling_pool(max_concurrency: float, sequences: int | None) -> TimeToFull:
    pool = PoolReport(0, 65_536, 512, 128, max_concurrency=max_concurrency, null_blocks=1)
    server = replace(SERVER, engine="vllm", concurrent_sequences_limit=sequences)
    return after([replace(server, pools=(replace(pool, used_ratio=(second + 1) / 511),)) for second in range(6)])


def test_a_pool_with_room_for_every_request_is_never_full() -> None:
    """Eight requests of 2,048 tokens at most, and room for 31.9 of them: the null block holds nothing."""
    found = filling_pool(32.0, 8)
    assert (found.state, found.seconds, found.tokens_left) == (Filling.BOUNDED, None, (511 - 6) * 128)
    assert filling_pool(32.0, 31).state is Filling.BOUNDED
    for crowded in (filling_pool(32.0, 32), filling_pool(32.0, None)):
        assert crowded.state is Filling.GROWING
        assert crowded.seconds == pytest.approx(511 - 6)


def test_a_pool_is_full_when_all_but_its_null_block_is() -> None:
    pool = PoolReport(0, 2048, 16, 128, used_ratio=1.0, null_blocks=1)
    found = after([replace(SERVER, engine="vllm", pools=(pool,))] * 4)
    assert (found.state, found.tokens_left) == (Filling.FULL, 0)


def test_growth_is_forgotten_after_the_window_and_when_the_clock_goes_back() -> None:
    watched = Watched()
    for second in range(200):
        watched.add(float(second), {"slot 0": second})
    assert watched.points[0][0] >= 199 - WINDOW_SECONDS
    watched.add(5.0, {"slot 0": 7})
    assert list(watched.points) == [(5.0, {"slot 0": 7})]


def memory_after(used_bytes: list[int], engine: str = "mlx") -> TimeToFull:
    reading = replace(SERVER, engine=engine)
    watched = Watched()
    for second, size in enumerate(used_bytes):
        gpu = Device("gpu0", "M4", APPLE, DeviceMemory(32 * GIB, size, 32 * GIB - size), None, 0.0)
        watched.add(float(second), held_memory(reading, [(gpu, Figure(size, Basis.MEASURED))]))
    plan = replace(plan_of(0, unified=False), bytes_per_token=float(GIB // 8192))
    return memory_to_full(watched, reading, plan, [gpu])


def test_a_cache_without_a_size_is_limited_by_the_memory_itself() -> None:
    found = memory_after([8 * GIB + second * GIB // 8 for second in range(9)])
    assert (found.state, found.cause, found.bytes_left) == (Filling.GROWING, "gpu0", 23 * GIB)
    assert found.seconds == pytest.approx(23 * 8)
    assert found.tokens_left == 23 * 8192
    assert found.tokens_per_second == pytest.approx(1024)


def test_memory_that_only_breathes_is_steady() -> None:
    found = memory_after([8 * GIB + second * 1024 for second in range(9)])
    assert (found.state, found.seconds) == (Filling.STEADY, None)


def test_memory_is_no_limit_of_an_engine_that_takes_its_cache_at_once() -> None:
    assert memory_after([8 * GIB + second * GIB for second in range(9)], "llama.cpp").state is Filling.UNKNOWN


def test_a_server_that_sleeps_grows_never_and_has_no_room_to_tell_of() -> None:
    asleep = replace(slots((4096, 100, False)), state=ServerState.SLEEPING)
    assert after([asleep, asleep, asleep]) == TimeToFull(Filling.STEADY)
