"""One account of a device's memory, wherever it is drawn: its parts sum to what is used, and pictures agree."""

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.frame import DeviceView, Frame
from kvtop.domain.memory import Segment
from kvtop.sources.demo import SCENARIOS, Scenario
from kvtop.views.export.snapshot.bar_parts import device_parts as painted
from kvtop.views.tui.widgets.segments import device_parts as drawn


def frame_of(scenario: Scenario) -> Frame:
    history = History()
    analyse(history, scenario.at(3.0), "1")
    return analyse(history, scenario.at(8.0), "1")


def shown(view: DeviceView) -> dict[str, int]:
    return {part.look.word: part.size_bytes for part in drawn(view) if part.size_bytes}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_the_parts_of_a_device_sum_to_what_is_used_and_free(scenario: Scenario) -> None:
    frame = frame_of(scenario)
    for view in map(frame.with_slices, frame.devices):
        memory = view.device.memory
        if memory.used_bytes is None or memory.free_bytes is None:
            continue
        parts = sum(shown(view).values())
        whole = memory.used_bytes + memory.free_bytes + (memory.reserved_bytes or 0)
        # Resident sets and plans may exceed what is used: allocated, but not resident, or counted as available.
        assert parts >= whole
        if (
            all((split.memory[Segment.UNATTRIBUTED].value_bytes or 0) >= 0 for _, split in view.splits)
            and not view.device.is_host
        ):
            assert parts == whole, view.device.id


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_the_picture_and_the_dashboard_draw_the_same_bytes(scenario: Scenario) -> None:
    frame = frame_of(scenario)
    for view in map(frame.with_slices, frame.devices):
        assert {part.paint.word: part.size_bytes for part in painted(view)} == shown(view)


def test_what_is_held_through_shared_memory_is_not_unattributed_on_the_host() -> None:
    frame = frame_of(next(it for it in SCENARIOS if it.name == "strix_halo"))
    host = next(it for it in frame.devices if it.device.is_host)
    card = next(it for it in frame.devices if not it.device.is_host)
    assert host.elsewhere_bytes == card.splits[0][1].driver.value_bytes
    assert host.unaccounted_bytes == 0
