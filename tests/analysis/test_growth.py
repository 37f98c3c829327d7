"""How fast the memory of a server grows whose cache has no size of its own."""

from dataclasses import replace

import pytest

from kvtop.analysis.usage.growth import WINDOW_SECONDS, Watched, held_memory, memory_to_full
from kvtop.domain.device import Device, DeviceMemory
from kvtop.domain.figure import Basis, Figure
from kvtop.domain.headroom import Filling, Ground, TimeToFull
from kvtop.domain.plan import ContextPlan, MemoryPlan
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.devices.apple import APPLE

GIB = 2**30
SERVER = ServerReading("127.0.0.1:8080", "mlx", ServerState.READY)
PLAN = MemoryPlan("mlx", "mlx-lm 0.32.2", "m", "llama", (), 1.0, (), context=ContextPlan(0, 0, 1, False))


def test_growth_is_forgotten_after_the_window_and_when_the_clock_goes_back() -> None:
    watched = Watched()
    for second in range(200):
        watched.add(float(second), {"memory of gpu0": second})
    assert watched.points[0][0] >= 199 - WINDOW_SECONDS
    watched.add(5.0, {"memory of gpu0": 7})
    assert list(watched.points) == [(5.0, {"memory of gpu0": 7})]


def memory_after(used_bytes: list[int], engine: str = "mlx") -> TimeToFull:
    reading = replace(SERVER, engine=engine)
    watched = Watched()
    for second, size in enumerate(used_bytes):
        gpu = Device("gpu0", "M4", APPLE, DeviceMemory(32 * GIB, size, 32 * GIB - size), None, 0.0)
        watched.add(float(second), held_memory(reading, [(gpu, Figure(size, Basis.MEASURED))]))
    plan = replace(PLAN, bytes_per_token=float(GIB // 8192))
    return memory_to_full(watched, reading, plan, [gpu])


def test_a_cache_without_a_size_is_limited_by_the_memory_itself() -> None:
    found = memory_after([8 * GIB + second * GIB // 8 for second in range(9)])
    assert (found.state, found.cause, found.bytes_left) == (Filling.GROWING, "gpu0", 23 * GIB)
    assert found.seconds == pytest.approx(23 * 8)
    assert found.tokens_left == 23 * 8192
    assert found.tokens_per_second == pytest.approx(1024)
    assert found.ground is Ground.MEMORY


def test_memory_that_only_breathes_is_steady() -> None:
    found = memory_after([8 * GIB + second * 1024 for second in range(9)])
    assert (found.state, found.seconds) == (Filling.STEADY, None)


def test_memory_is_no_limit_of_an_engine_that_takes_its_cache_at_once() -> None:
    assert memory_after([8 * GIB + second * GIB for second in range(9)], "llama.cpp").state is Filling.UNKNOWN
