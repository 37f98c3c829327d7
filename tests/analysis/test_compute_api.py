"""By which API a server uses its card decides its plan and what a process takes by itself."""

from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.planned.placement import compute_api_of
from kvtop.domain.compute_api import CUDA, ROCM, VULKAN
from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.domain.engine_report import RankReport
from kvtop.domain.figure import Basis
from kvtop.domain.frame import Frame, Split
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.demo import scenario
from kvtop.sources.devices.amdgpu import AMDGPU
from kvtop.sources.devices.nvml import NVML
from tests.amounts import size_of

READING = ServerReading("127.0.0.1:8080", "llama.cpp", ServerState.READY, pids=(7,))


def frame_of(name: str) -> Frame:
    return analyse(History(), scenario(name).at(8.0), "1")


def on_card(frame: Frame, server: str) -> Split:
    view = next(it for it in frame.servers if it.reading.id == server)
    return next(it for it in view.splits if it.device_id == "gpu0")


def told(device: str) -> ServerReading:
    options = LaunchOptions("llama.cpp", (LaunchOption("device", device, Origin.ARGV),))
    return replace(READING, launch=options)


def logged(*apis: str) -> ServerReading:
    return replace(READING, memory_reports=tuple(RankReport(device_id="engine gpu0", compute_api=it) for it in apis))


def card(driver_api: str = "", pid: int = 7) -> Device:
    rows = (ProcessMemory(pid, 1, compute_api=driver_api),)
    return Device("gpu0", "card", AMDGPU, DeviceMemory(), rows, 0.0)


@pytest.mark.parametrize(
    ("reading", "device", "api"),
    [
        (READING, card("vulkan"), VULKAN),
        (READING, card("rocm"), ROCM),
        (told("Vulkan0"), card(), VULKAN),
        (told("Vulkan0"), card("rocm"), ROCM),
        (told("ROCm0,ROCm1"), card(), ROCM),
        (told("none"), card(), ROCM),
        (logged("vulkan"), replace(card(), driver=NVML), VULKAN),
        (logged("vulkan"), card("rocm"), ROCM),
        (logged("vulkan", "cuda"), replace(card(), driver=NVML), CUDA),
        (READING, card("vulkan", pid=8), ROCM),
        (READING, replace(card(), driver=NVML), CUDA),
    ],
)
def test_the_driver_knows_best_then_the_command_then_what_is_usual(
    reading: ServerReading, device: Device, api: object
) -> None:
    assert compute_api_of(reading, device) is api


def test_two_servers_on_one_card_are_planned_each_by_its_own() -> None:
    frame = frame_of("rx7900xtx")
    by_rocm, by_vulkan = on_card(frame, "127.0.0.1:8080"), on_card(frame, "127.0.0.1:8081")
    assert (by_rocm.memory[Segment.WEIGHTS].basis, by_vulkan.memory[Segment.WEIGHTS].basis) == (
        Basis.COMPUTED,
        Basis.ESTIMATED,
    )
    assert ROCM.runtime_prior is not None
    assert by_rocm.memory[Segment.RUNTIME].value_bytes == ROCM.runtime_prior.value_bytes
    assert by_vulkan.memory[Segment.RUNTIME].basis is Basis.UNKNOWN


def test_parts_on_a_processors_graphics_sum_to_what_is_measured() -> None:
    split = on_card(frame_of("strix_halo"), "127.0.0.1:8080")
    assert split.driver.value_bytes == sum(figure.value_bytes or 0 for _, figure in split.memory.parts)
    assert split.memory[Segment.UNATTRIBUTED].value_bytes is not None
    assert 0 <= size_of(split, Segment.UNATTRIBUTED) < 2**29
