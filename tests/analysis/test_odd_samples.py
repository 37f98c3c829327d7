"""Whatever a driver, a kernel or an endpoint leaves out, a Sample is explained, and what is known adds up."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.device import Device, DeviceMemory, DeviceState, ProcessMemory
from kvtop.domain.frame import Frame
from kvtop.domain.memory import Segment
from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.demo import SCENARIOS, scenario
from tests.amounts import size_of

SMALL = [it for it in SCENARIOS if it.name not in {"busy_32", "nothing"}]


def odd_device(random: Random, device: Device) -> Device:
    memory, rows = device.memory, device.processes
    sizes = (memory.total_bytes, memory.used_bytes, memory.free_bytes, memory.reserved_bytes)
    is_host = device.is_host
    if rows is not None and not is_host:
        kept = [(row, random.choice(("as it is", "no bytes", "gone"))) for row in rows]
        rows = tuple(
            ProcessMemory(row.pid, None if how == "no bytes" else row.used_bytes, row.contexts)
            for row, how in kept
            if how != "gone"
        )
        rows = random.choice((rows, rows, None))
    return replace(
        device,
        memory=DeviceMemory(*(random.choice((size, None)) for size in sizes)),
        processes=rows,
        state=random.choice(list(DeviceState)),
        unified_memory=not is_host and random.random() < 0.3,
        compute_capability=random.choice((device.compute_capability, None)),
    )


def odd_server(random: Random, reading: ServerReading) -> ServerReading:
    blank: dict[str, object] = {
        "state": random.choice(list(ServerState)),
        "launch": None,
        "slots": None,
        "slot_context_tokens": None,
        "pools": tuple(
            replace(pool, capacity_tokens=None, used_ratio=random.choice((None, 0.0, 1.0)), block_count=None)
            for pool in reading.pools
        ),
        "ranks": (),
        "pids": (),
        "model_key": None,
        "sequence_limit_tokens": None,
        "sleep_level": random.choice((None, 0, 1, 2)),
        "is_remote": True,
        "version": None,
    }
    chosen = random.sample(sorted(blank), random.randint(0, 4))
    return replace(reading, **{name: blank[name] for name in chosen})  # type: ignore[arg-type]  # fields by name


def odd_process(random: Random, process: Process) -> Process:
    return replace(process, rss_bytes=random.choice((process.rss_bytes, None, 0)))


def odd_sample(random: Random, sample: Sample) -> Sample:
    return replace(
        sample,
        devices=tuple(odd_device(random, device) for device in sample.devices),
        servers=tuple(odd_server(random, reading) for reading in sample.servers),
        processes=tuple(odd_process(random, process) for process in sample.processes),
    )


def check(frame: Frame) -> None:
    for view in frame.servers:
        for split in view.splits:
            sizes = [figure.value_bytes for _, figure in split.memory.parts]
            if split.driver.value_bytes is None:
                assert split.memory[Segment.UNATTRIBUTED].value_bytes is None
            else:
                assert sum(size for size in sizes if size is not None) == split.driver.value_bytes
            if split.kv_used_bytes is not None:
                assert split.memory[Segment.KV_CACHE].value_bytes is not None
                assert 0 <= split.kv_used_bytes <= size_of(split, Segment.KV_CACHE)
        filling = view.time_to_full
        assert (filling.seconds is not None) == (filling.state.value == "growing")
        assert filling.tokens_left is None or filling.tokens_left >= 0
    for device in frame.devices:
        assert device.other_bytes is None or device.other_bytes >= 0


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from([it.name for it in SMALL]), seed=st.integers(0, 2**32))
def test_any_gap_leaves_a_frame_that_adds_up(name: str, seed: int) -> None:
    random, history = Random(seed), History()
    for second in (4.0, 7.0):
        check(analyse(history, odd_sample(random, scenario(name).at(second)), "1"))


@pytest.mark.parametrize("name", [it.name for it in SCENARIOS])
def test_two_hours_of_every_scenario_add_up(name: str) -> None:
    history = History()
    for second in (0.0, 1.0, 2.0, 3.0, 5.0, 9.0, 30.0, 61.0, 200.0, 3600.0, 7200.0, 5.0):
        check(analyse(history, scenario(name).at(second), "1"))
