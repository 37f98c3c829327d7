"""Which devices a server is on: certain where a driver lists it, assumed aloud where one hides it."""

from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.attribution.device_assignment import device_assignment
from kvtop.analysis.attribution.device_views import device_views
from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.domain.driver import HOST_DRIVER, Driver
from kvtop.domain.figure import Basis
from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.process import GONE_OR_BEYOND, HIDDEN_FROM_US, Process
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.demo import scenario
from kvtop.sources.devices.apple import APPLE
from kvtop.sources.devices.nvml import NVML
from tests.amounts import size_of

GIB = 2**30
MODEL = GgufHeader("/m.gguf", 3, False, {}, (), 4 * GIB)
STRANGER = Process(4711, None, "?", None, unreadable=("not in /proc",))
HOST = Device("host", "host memory", HOST_DRIVER, DeviceMemory(64 * GIB, 9 * GIB, 55 * GIB), (), 0.0)


def card(index: int, *rows: ProcessMemory, driver: Driver = NVML) -> Device:
    return Device(f"gpu{index}", "card", driver, DeviceMemory(24 * GIB, 8 * GIB, 16 * GIB), rows, 0.0)


def server(**options: str) -> ServerReading:
    rows = tuple(LaunchOption(name.replace("_", "-"), value, Origin.ARGV) for name, value in options.items())
    launch = LaunchOptions("llama.cpp", rows)
    return ServerReading("s", "llama.cpp", ServerState.READY, pids=(7,), launch=launch, model_key="/m.gguf")


def own(rss_bytes: int) -> Process:
    return Process(7, 1, "llama-server", ("llama-server",), rss_bytes=rss_bytes)


def find(reading: ServerReading, devices: tuple[Device, ...], *processes: Process) -> tuple[list[str], list[str], str]:
    known = {process.pid: process for process in processes}
    where = device_assignment(reading, devices, known, {"/m.gguf": MODEL})
    return [device.id for device, _ in where.rows], [device.id for device in where.accelerators], where.note


def frame_of(name: str, *seconds: float) -> Frame:
    history = History()
    for second in seconds or (6.0, 8.0):
        frame = analyse(history, scenario(name).at(second), "1")
    return frame


def view_of(name: str, server_id: str) -> ServerView:
    view = frame_of(name).server(server_id)
    assert view is not None
    return view


def test_a_listed_process_is_where_the_driver_says() -> None:
    rows, cards, note = find(server(), (card(0), card(1, ProcessMemory(7, GIB)), HOST), own(GIB))
    assert (rows, cards, note) == (["gpu1", "host"], ["gpu1"], "")


def test_a_server_that_no_driver_lists_runs_on_the_host() -> None:
    desktop = Process(980, 1, "Xorg", ("Xorg",))
    assert find(server(), (card(0, ProcessMemory(980, GIB)), HOST), own(5 * GIB), desktop) == (["host"], [], "")


def test_pids_that_are_nobodys_here_may_be_the_server() -> None:
    rows, cards, note = find(server(), (card(0, ProcessMemory(4711, GIB)), HOST), own(GIB), STRANGER)
    assert (rows, cards) == (["gpu0", "host"], ["gpu0"])
    assert "gpu0" in note


@pytest.mark.parametrize("why", [GONE_OR_BEYOND, HIDDEN_FROM_US])
def test_where_pids_are_counted_alike_a_stranger_is_not_the_server(why: str) -> None:
    """On the bare machine a server would stand in the driver's list by its own pid. WSL lists others, without bytes."""
    stranger = replace(STRANGER, unreadable=(why,))
    assert find(server(), (card(0, ProcessMemory(4711, GIB)), HOST), own(GIB), stranger) == (["host"], [], "")
    rows, cards, _ = find(server(), (card(0, ProcessMemory(4711, None)), HOST), own(GIB), stranger)
    assert (rows, cards) == (["gpu0", "host"], ["gpu0"])


def test_among_several_such_cards_nobody_can_tell() -> None:
    devices = (card(0, ProcessMemory(4711, GIB)), card(1, ProcessMemory(4711, GIB)), HOST)
    rows, cards, note = find(server(), devices, own(GIB), STRANGER)
    assert (rows, cards) == (["host"], ["gpu0", "gpu1"])
    assert "gpu0, gpu1" in note


@pytest.mark.parametrize(
    ("reading", "rss_bytes"),
    [(server(gpu_layers="0"), GIB), (server(device="none"), GIB), (server(), 4 * GIB)],
    ids=["no layers", "no device", "its model is resident"],
)
def test_a_server_that_uses_no_card_is_not_put_on_one(reading: ServerReading, rss_bytes: int) -> None:
    devices = (card(0, ProcessMemory(4711, GIB)), HOST)
    assert find(reading, devices, own(rss_bytes), STRANGER) == (["host"], [], "")


def test_a_list_that_cannot_be_read_may_hide_it() -> None:
    unread = replace(card(0), processes=None)
    rows, cards, note = find(server(), (unread, HOST), own(GIB))
    assert (rows, cards) == (["gpu0", "host"], ["gpu0"])
    assert note


def test_a_server_that_still_loads_is_not_planned_before_it_is_somewhere() -> None:
    loading = replace(server(), state=ServerState.LOADING)
    sample = Sample(0.0, "h", (card(0), HOST), (own(GIB),), (loading,))
    view = analyse(History(), sample, "1").servers[0]
    assert view.plan is None
    assert "still loading" in view.plan_note


def test_inside_a_container_the_only_card_is_assumed_and_nothing_on_it_measured() -> None:
    view = view_of("inside_container", "127.0.0.1:8080")
    by_device = {split.device_id: split for split in view.splits}
    assert by_device["gpu0"].driver.value_bytes is None
    assert by_device["gpu0"].memory[Segment.UNATTRIBUTED].value_bytes is None
    assert by_device["gpu0"].memory[Segment.WEIGHTS].value_bytes
    assert by_device["host"].memory[Segment.WEIGHTS].value_bytes is not None
    assert size_of(by_device["host"], Segment.WEIGHTS) < 2 * GIB
    assert "no driver lists its process" in view.plan_note
    assert frame_of("inside_container").devices[0].other_bytes is None


def test_a_driver_without_memory_of_processes_gives_no_total_and_no_others() -> None:
    frame = frame_of("wsl_na")
    split = frame.servers[0].splits[0]
    assert split.driver.basis is Basis.UNKNOWN
    assert split.memory[Segment.KV_CACHE].basis is Basis.COMPUTED
    assert frame.devices[0].other_bytes is None


def test_a_card_that_is_cut_holds_what_its_slices_hold() -> None:
    frame = frame_of("mig_slices")
    others = {view.device.id: view.other_bytes for view in frame.devices}
    assert others["gpu0"] == 0
    assert others["gpu0:mig0"] == others["gpu0:mig2"] == 38 * 2**20
    assert [split.device_id for split in frame.servers[0].splits] == ["gpu0:mig0", "host"]


def test_one_memory_is_not_counted_twice() -> None:
    frame = frame_of("gb10_unified")
    gpu, host = frame.devices
    held = sum(split.driver.value_bytes or 0 for view in (gpu, host) for _, split in view.splits)
    assert host.device.memory.used_bytes is not None
    assert host.other_bytes == host.device.memory.used_bytes - held
    assert gpu.other_bytes == GIB // 4


def test_what_lies_elsewhere_does_not_vanish_with_the_hosts_own_figure() -> None:
    """A host that does not say what is used holds what its servers hold all the same."""
    frame = frame_of("gb10_unified")
    gpu, host = frame.devices
    silent = replace(host.device, memory=replace(host.device.memory, used_bytes=None))
    views = device_views((gpu.device, silent), frame.servers, frame.taken_at)
    assert host.elsewhere_bytes
    assert views[1].elsewhere_bytes == host.elsewhere_bytes


def test_a_mac_shows_a_server_once_on_the_memory_that_all_share() -> None:
    frame = frame_of("mac_mlx")
    view = frame.servers[0]
    assert [split.device_id for split in view.splits] == ["gpu0"]
    (split,) = view.splits
    assert split.driver.basis is Basis.MEASURED
    assert split.memory[Segment.WEIGHTS].basis is Basis.COMPUTED
    assert split.memory[Segment.KV_CACHE].value_bytes is None
    gpu, host = frame.devices
    assert gpu.other_bytes is None
    assert host.device.memory.used_bytes is not None
    assert host.other_bytes == host.device.memory.used_bytes - (split.driver.value_bytes or 0)


def test_llama_cpp_on_a_mac_has_all_its_parts_in_the_one_memory() -> None:
    apple = replace(card(0, driver=APPLE), processes=None, unified_memory=True)
    sample = scenario("magic_combo_trap").at(8.0)
    whole = analyse(History(), sample, "1").servers[0]
    view = analyse(History(), replace(sample, devices=(apple, sample.devices[1])), "1").servers[0]
    (split,) = view.splits
    weights = [it.memory[Segment.WEIGHTS].value_bytes or 0 for it in whole.splits]
    assert split.device_id == "gpu0"
    assert split.memory[Segment.WEIGHTS].value_bytes == sum(weights)


def test_asleep_means_that_memory_was_given_back() -> None:
    llama = {it.device_id: it for it in view_of("sleeping", "127.0.0.1:8080").splits}
    assert [llama["gpu0"].memory[Segment.WEIGHTS].value_bytes, llama["gpu0"].memory[Segment.KV_CACHE].value_bytes] == [
        0,
        0,
    ]
    vllm = {it.device_id: it for it in view_of("sleeping", "127.0.0.1:8000").splits}
    assert [vllm["gpu0"].memory[Segment.WEIGHTS].value_bytes, vllm["gpu0"].memory[Segment.KV_CACHE].value_bytes] == [
        0,
        0,
    ]
    assert vllm["gpu0"].memory[Segment.COMPUTE].value_bytes is None
    assert vllm["host"].memory[Segment.WEIGHTS].value_bytes
    assert view_of("sleeping", "127.0.0.1:8000").calibration == ()


def test_ranks_that_are_not_here_are_planned_and_not_measured() -> None:
    sample = scenario("h100x8_vllm_tp").at(8.0)
    half = tuple(it for it in sample.devices if it.id in {"gpu0", "gpu1", "gpu2", "gpu3", "host"})
    view = analyse(History(), replace(sample, devices=half), "1").servers[0]
    assert view.plan is not None
    assert len(view.plan.devices) == 8
    hidden = [split for split in view.splits if split.device_id.endswith("(not measured)")]
    assert len(hidden) == 4
    assert all(split.memory[Segment.WEIGHTS].value_bytes and split.driver.value_bytes is None for split in hidden)


def test_what_host_memory_does_not_hold_may_be_on_a_card_that_no_driver_shows() -> None:
    """An AMD card, or a driver library that kvtop's container lacks: nothing of the model is put into host memory."""
    sample = scenario("rtx4090_llamacpp").at(8.0)
    (reading,) = sample.servers
    model = sample.models[reading.model_key or ""]
    assert isinstance(model, GgufHeader)
    hosts = tuple(device for device in sample.devices if device.is_host)
    small, large = (
        tuple(replace(it, rss_bytes=int(model.file_size_bytes * share)) for it in sample.processes)
        for share in (0.1, 1.2)
    )
    unseen = replace(sample, devices=hosts, processes=small, unseen_makers=("AMD",))
    (view,) = analyse(History(), unseen, "1").servers
    on_host, elsewhere = view.splits
    assert (on_host.device_id, elsewhere.device_id) == ("host", "gpu0 (not measured)")
    assert "taken to be on a card of AMD" in view.plan_note
    assert (elsewhere.memory[Segment.WEIGHTS].value_bytes or 0) > 0.8 * model.file_size_bytes
    assert elsewhere.driver.value_bytes is None
    assert elsewhere.memory[Segment.UNATTRIBUTED].value_bytes is None
    for other in (replace(unseen, processes=large), replace(unseen, unseen_makers=())):
        (alone,) = analyse(History(), other, "1").servers
        assert [split.device_id for split in alone.splits] == ["host"]


def test_a_list_that_cannot_be_read_is_not_one_with_strangers() -> None:
    closed = replace(card(0), processes=None)
    assert "whose list cannot be read" in find(server(), (closed, HOST), own(GIB))[2]
