"""A split adds up to the driver's figure, whatever is known; unknown stays unknown."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.analysis.attribution.explained_memory import EXPLAINED, planned_memory
from kvtop.analysis.attribution.splits import (
    NO_RUNTIME,
    RESIDENT_PRIOR,
    Runtime,
    cache_use,
    driver_bytes,
    split_on,
    with_host_growth,
)
from kvtop.domain.compute_api import CUDA
from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.domain.driver import HOST_DRIVER
from kvtop.domain.figure import UNKNOWN, Basis, Figure
from kvtop.domain.frame import Split
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.plan import CachePart, ContextPlan, DeviceShare, HostGrowth, MemoryPlan
from kvtop.domain.process import Process
from kvtop.domain.server import Slot
from kvtop.sources.devices.nvml import NVML
from tests.amounts import high_of, share, size_of

GIB = 2**30
ON_A_CARD = Runtime(CUDA.runtime_prior)
SIZES = st.integers(0, 80 * GIB)


def plan_of(part: DeviceShare, *parts: CachePart, unified: bool = True, sequences: int = 4) -> MemoryPlan:
    context = ContextPlan(8192, 8192 if unified else 8192 // sequences, sequences, unified)
    return MemoryPlan("llama.cpp", "llama.cpp b11434", "m", "llama", (part,), 1.0, parts, context=context)


def measured(size_bytes: int) -> Figure:
    return Figure(size_bytes, Basis.MEASURED)


def total(split: Split) -> int:
    return sum(figure.value_bytes or 0 for _, figure in split.memory.parts)


@given(driver=SIZES, weights=st.none() | SIZES, cache=st.none() | SIZES, compute=SIZES, spread=st.integers(0, GIB))
def test_segments_add_up_to_the_driver(
    driver: int, weights: int | None, cache: int | None, compute: int, spread: int
) -> None:
    estimate = Figure.estimated(compute, max(compute - spread, 0), compute + spread)
    part = share("gpu0", weights, cache, 0, estimate)
    for runtime in (ON_A_CARD, Runtime(RESIDENT_PRIOR, is_resident_set=True), NO_RUNTIME):
        split = split_on("gpu0", measured(driver), planned_memory(plan_of(part), part), runtime)
        assert total(split) == driver
        assert (split.memory[Segment.WEIGHTS].value_bytes is None) == (weights is None)
        held = split.memory[Segment.RUNTIME]
        assert held.value_bytes is None or 0 <= (held.low_bytes or 0) <= held.value_bytes


def test_without_a_plan_everything_is_unattributed() -> None:
    split = split_on("gpu0", measured(GIB), None, ON_A_CARD)
    assert split.memory[Segment.UNATTRIBUTED] == Figure(
        GIB, Basis.RESIDUAL, source="measured total; nothing in it could be explained"
    )
    assert split.memory[Segment.WEIGHTS] is UNKNOWN


def test_without_a_total_nothing_is_left_over() -> None:
    part = share("gpu0", GIB, GIB, 0, Figure.computed(1))
    split = split_on("gpu0", UNKNOWN, planned_memory(plan_of(part), part), ON_A_CARD)
    assert split.memory[Segment.UNATTRIBUTED].value_bytes is None
    assert split.memory[Segment.RUNTIME].basis is Basis.ESTIMATED


def test_more_computed_than_resident_is_shown_as_less_than_nothing() -> None:
    part = share("host", 2 * GIB, 0, 0)
    split = split_on("host", measured(GIB), planned_memory(plan_of(part), part), Runtime(RESIDENT_PRIOR, True))
    assert split.memory[Segment.UNATTRIBUTED].value_bytes == -GIB
    assert "not resident" in split.memory[Segment.UNATTRIBUTED].source
    assert split.memory[Segment.RUNTIME].value_bytes == 0


def test_an_estimate_is_cut_to_what_the_measurement_leaves() -> None:
    wide = Figure.estimated(8 * GIB, GIB, 16 * GIB)
    part = share("gpu0", 10 * GIB, 20 * GIB, 0, wide)
    roomy = split_on("gpu0", measured(60 * GIB), planned_memory(plan_of(part), part), ON_A_CARD)
    assert (roomy.memory[Segment.COMPUTE].value_bytes, roomy.memory[Segment.COMPUTE].high_bytes) == (8 * GIB, 16 * GIB)
    tight = split_on("gpu0", measured(33 * GIB), planned_memory(plan_of(part), part), ON_A_CARD)
    assert tight.memory[Segment.COMPUTE].value_bytes is not None
    assert GIB < size_of(tight, Segment.COMPUTE) < 3 * GIB
    assert high_of(tight, Segment.COMPUTE) == 3 * GIB
    assert size_of(tight, Segment.UNATTRIBUTED) == 0
    assert "capped by" in tight.memory[Segment.COMPUTE].source
    short = split_on("gpu0", measured(30 * GIB), planned_memory(plan_of(part), part), ON_A_CARD)
    assert short.memory[Segment.COMPUTE].value_bytes == GIB
    assert short.memory[Segment.UNATTRIBUTED].value_bytes == -GIB


def test_a_driver_that_lists_a_process_without_its_bytes_makes_the_total_unknown() -> None:
    rows = (ProcessMemory(1, 100), ProcessMemory(2, None), ProcessMemory(3, 7))
    device = Device("gpu0", "card", NVML, DeviceMemory(), rows, 0.0)
    figure = driver_bytes(device, frozenset({1, 2}), {})
    assert figure is not None
    assert figure.value_bytes is None
    assert driver_bytes(device, frozenset({1, 3}), {}) == Figure(107, Basis.MEASURED, source="NVML, per process")
    assert driver_bytes(device, frozenset({99}), {}) is None


def test_host_total_is_the_resident_set() -> None:
    host = Device("host", "host memory", HOST_DRIVER, DeviceMemory(), (), 0.0)
    known = {5: Process(5, 1, "llama-server", (), rss_bytes=11), 6: Process(6, 5, "child", (), rss_bytes=None)}
    figure = driver_bytes(host, frozenset({5, 6}), known)
    assert figure is not None
    assert figure.value_bytes == 11


def test_a_window_is_full_once_a_sequence_has_passed_it() -> None:
    part = share("gpu0", 0, 3000, 0)
    plan = plan_of(part, CachePart("full", 2000, 1, 8192), CachePart("sliding_window", 1000, 1, 1024))
    use = cache_use(plan, (Slot(0, 8192, 4096, True), Slot(1, 8192, 0, False)))
    assert use is not None
    assert dict(use.shares) == {"full": 0.5, "sliding_window": 1.0}
    assert use.used_bytes(plan, part) == 2000


def test_streams_of_their_own_are_counted_together() -> None:
    part = share("gpu0", 0, 1000, 0)
    plan = plan_of(part, CachePart("full", 1000, 1, 2048), unified=False)
    use = cache_use(plan, (Slot(0, 2048, 2048, True), *(Slot(index, 2048, 0, False) for index in (1, 2, 3))))
    assert use is not None
    assert use.used_bytes(plan, part) == 250


def test_unread_slots_leave_the_use_unknown() -> None:
    part = share("gpu0", 0, 1000, 0)
    plan = plan_of(part, CachePart("full", 1000, 1, 8192))
    assert cache_use(plan, None) is None
    assert cache_use(plan, (Slot(0, 8192, None, True),)) is None


@pytest.mark.parametrize(
    ("left_mib", "expected_mib", "is_cut"),
    [(0, (0, 0, 0), True), (99, (99, 99, 99), True), (299, (299, 100, 299), True)]
    + [(300, (300, 100, 300), False), (450, (300, 100, 450), False), (600, (300, 100, 600), False)]
    + [(601, (300, 100, 600), False)],
)
def test_the_runtime_of_cuda_is_its_prior_and_never_more_than_is_left(
    left_mib: int, expected_mib: tuple[int, int, int], is_cut: bool
) -> None:
    """An empty CUDA context was measured at 107 MiB and at 555 MiB (llama.cpp PR 23604)."""
    mib = 2**20
    part = share("gpu0", GIB, 0, 0)
    runtime = split_on("gpu0", measured(GIB + left_mib * mib), planned_memory(plan_of(part), part), ON_A_CARD).memory[
        Segment.RUNTIME
    ]
    assert (runtime.value_bytes, runtime.low_bytes, runtime.high_bytes) == tuple(it * mib for it in expected_mib)
    assert ("capped by" in runtime.source) is is_cut


def test_what_grows_in_host_memory_is_named_with_its_limit() -> None:
    memory = Memory.of({segment: Figure.computed(100) for segment in EXPLAINED})
    found = split_on("host", Figure(1000, Basis.MEASURED), memory)
    growth = HostGrowth(8 << 30, 4096, 3 << 20, 32, 1 << 20, 1)
    source = with_host_growth(found, growth).memory[Segment.UNATTRIBUTED].source
    assert source.endswith("up to 8.03 GiB, one of 4096 tokens 3.00 MiB")
    off = replace(growth, cache_limit_bytes=0, checkpoint_bytes=0)
    assert with_host_growth(found, off) == found
    full = split_on("host", Figure(400, Basis.MEASURED), memory)
    assert with_host_growth(full, growth) == full
