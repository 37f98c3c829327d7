"""AMD cards from sysfs, fdinfo of every generation, and KFD, on a synthetic tree."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.domain.device import Device, DeviceMemory, DeviceState
from kvtop.sources.devices.amdgpu.reader import AmdgpuBackend, open_backend
from kvtop.sources.devices.drm.clients import LOOKS_PER_TICK, DrmClients
from kvtop.sources.devices.drm.fdinfo import parse_fdinfo
from tests.sources.devices.kernel_tree import GENERATIONS, GIB, MIB, STRIX_HALO, AmdTree

CARD, OTHER = "0000:03:00.0", "0000:43:00.0"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def held(device: Device) -> dict[int, int | None]:
    return {row.pid: row.used_bytes for row in device.processes or ()}


@pytest.fixture
def tree(tmp_path: Path) -> AmdTree:
    return AmdTree(tmp_path)


def test_a_discrete_card(tree: AmdTree) -> None:
    tree.card(CARD, vram=(24 * GIB, 9 * GIB))
    (card,) = AmdgpuBackend(tree.root).read()
    assert (card.id, card.name, card.driver.name) == ("gpu0", "AMD Radeon RX 7900 XTX", "amdgpu")
    assert (card.state, card.note, card.unified_memory) == (DeviceState.OK, "", False)
    memory = card.memory
    assert (memory.total_bytes, memory.used_bytes, memory.free_bytes) == (24 * GIB, 9 * GIB, 15 * GIB)
    assert (card.pci_address, card.uuid) == (CARD, "GPU-0000000000000001")
    assert (card.utilization_ratio, card.temperature_celsius, card.power_watts) == (0.42, 61.0, 250.0)
    assert (card.power_limit_watts, card.clock_mhz, card.clock_limit_mhz) == (339.0, 2400.0, 2526.0)
    assert card.compute_capability is None
    assert card.processes == ()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_what_processes_hold_in_every_generation_of_the_kernel(tmp_path: Path, generation: str) -> None:
    tree = AmdTree(tmp_path, generation)
    tree.card(CARD)
    tree.opens(100, CARD, vram=8 * GIB, gtt=100 * MIB, client=5)
    tree.opens(100, CARD, vram=8 * GIB, gtt=100 * MIB, client=5, fd=9)  # dup
    tree.opens(101, CARD, vram=8 * GIB, gtt=100 * MIB, client=5)  # inherited by a fork
    tree.opens(200, CARD, vram=3 * MIB, client=6)
    (card,) = AmdgpuBackend(tree.root).read()
    assert held(card) == {100: 8 * GIB, 200: 3 * MIB}
    assert [row.mapped_host_bytes for row in card.processes or ()] == [100 * MIB, 0]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_on_a_processor_mapped_host_memory_counts_too(tmp_path: Path, generation: str) -> None:
    tree = AmdTree(tmp_path, generation)
    tree.card(CARD, vram=(GIB, GIB // 2), gtt=(124 * GIB, 25 * GIB), product=STRIX_HALO)
    tree.opens(100, CARD, vram=5 * MIB, gtt=24 * GIB)
    host = DeviceMemory(128 * GIB, 98 * GIB, 30 * GIB)
    (card,) = AmdgpuBackend(tree.root, host_memory=lambda: host).read()
    assert card.unified_memory
    # What it may map must still be there: 30 of 99 GiB, and the half that is set aside.
    used = 25 * GIB + GIB // 2
    assert card.memory == DeviceMemory(125 * GIB, used, 30 * GIB + GIB // 2)
    assert held(card) == {100: 24 * GIB + 5 * MIB}


@pytest.mark.parametrize(("revision", "is_unified"), [(1, False), (2, True), (3, True)])
def test_the_table_of_metrics_tells_what_is_a_processor(tree: AmdTree, revision: int, is_unified: bool) -> None:
    home = tree.card(CARD, product=("0xabcd", "0x01"))
    (home / "gpu_metrics").write_bytes(bytes([0x80, 0, revision, 1]) + bytes(124))
    (card,) = AmdgpuBackend(tree.root).read()
    assert card.unified_memory is is_unified
    assert card.name == "AMD Radeon graphics 1002:abcd"


def test_the_larger_of_both_counts_and_never_their_sum(tree: AmdTree) -> None:
    tree.card(CARD)
    tree.opens(100, CARD, vram=8 * GIB)
    tree.computes(100, CARD, 7 * GIB)  # both know it: 6.8 and later
    tree.opens(101, CARD, vram=2 * MIB)
    tree.computes(101, CARD, 1610571776)  # 6.5: ROCm's memory is in KFD alone
    tree.computes(102, CARD, GIB)  # another user's: its files may not be looked at
    tree.opens(103, CARD, vram=5 * GIB)  # Vulkan
    tree.computes(104, CARD, 0)  # ROCm on another card
    (card,) = AmdgpuBackend(tree.root).read()
    assert held(card) == {100: 8 * GIB, 101: 1610571776, 102: GIB, 103: 5 * GIB}
    apis = {row.pid: (row.compute_api, row.contexts) for row in card.processes or ()}
    assert apis[100] == ("rocm", ("compute",))
    assert apis[103] == ("vulkan", ("graphics",))


def test_without_kfd_nobody_knows_by_which_api_a_process_came(tmp_path: Path) -> None:
    tree = AmdTree(tmp_path, has_kfd=False)
    tree.card(CARD)
    tree.opens(100, CARD, vram=GIB)
    (card,) = AmdgpuBackend(tree.root).read()
    assert [(row.used_bytes, row.compute_api) for row in card.processes or ()] == [(GIB, "")]


def test_cards_are_counted_as_hip_counts_them(tree: AmdTree) -> None:
    tree.card(CARD, kfd_node=2)
    tree.card(OTHER, kfd_node=1)
    tree.card("0000:c5:00.0", driver="i915")
    tree.opens(100, OTHER, vram=GIB)
    tree.opens(200, CARD, vram=2 * GIB)
    tree.opens(300, CARD, vram=3 * GIB, driver="nouveau")
    first, second = AmdgpuBackend(tree.root).read()
    assert [(it.id, it.pci_address, held(it)) for it in (first, second)] == [
        ("gpu0", OTHER, {100: GIB}),
        ("gpu1", CARD, {200: 2 * GIB}),
    ]


def test_figures_move_and_processes_come_and_go(tree: AmdTree) -> None:
    tree.card(CARD)
    tree.opens(100, CARD, vram=GIB)
    clock = Clock()
    backend = AmdgpuBackend(tree.root, clock)
    assert held(backend.read()[0]) == {100: GIB}
    tree.opens(100, CARD, vram=2 * GIB)
    tree.put(CARD, mem_info_vram_used=3 * GIB)
    tree.opens(200, CARD, vram=MIB)
    (card,) = backend.read()
    assert (held(card), card.memory.used_bytes) == ({100: 2 * GIB, 200: MIB}, 3 * GIB)
    tree.ends(100)
    assert held(backend.read()[0]) == {200: MIB}


def test_a_card_that_is_opened_late_is_seen(tree: AmdTree) -> None:
    tree.card(CARD)
    (tree.root / "proc/100/fd").mkdir(parents=True)
    clock = Clock()
    backend = AmdgpuBackend(tree.root, clock)
    assert held(backend.read()[0]) == {}
    tree.opens(100, CARD, vram=GIB)
    clock.now += 2
    assert held(backend.read()[0]) == {100: GIB}


def test_a_pid_that_is_another_process_now_holds_what_that_one_has_open(tree: AmdTree) -> None:
    tree.card(CARD)
    tree.opens(100, CARD, vram=GIB)
    clock = Clock()
    backend = AmdgpuBackend(tree.root, clock)
    assert held(backend.read()[0]) == {100: GIB}
    tree.ends(100)
    (tree.root / "proc/100/fd").mkdir(parents=True)
    assert held(backend.read()[0]) == {}


def test_a_card_that_goes_and_one_that_comes(tree: AmdTree) -> None:
    tree.card(CARD)
    clock = Clock()
    backend = AmdgpuBackend(tree.root, clock)
    assert [it.pci_address for it in backend.read()] == [CARD]
    tree.unplug(CARD)
    (gone,) = backend.read()
    assert (gone.state, gone.memory.total_bytes) == (DeviceState.LOST, None)
    tree.card(OTHER)
    clock.now += 10
    assert [it.pci_address for it in backend.read()] == [OTHER]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mem_info_vram_used", "N/A"),
        ("mem_info_vram_used", ""),
        ("mem_info_vram_used", "-1"),
        ("mem_info_vram_used", 25 * GIB),
        ("mem_info_vram_used", "9" * 5000),
        ("mem_info_vram_used", "\x00\x1b[31m"),
    ],
)
def test_what_is_no_figure_is_unknown(tree: AmdTree, name: str, content: object) -> None:
    tree.card(CARD)
    tree.put(CARD, **{name: content})
    (card,) = AmdgpuBackend(tree.root).read()
    assert (card.memory.total_bytes, card.memory.used_bytes, card.memory.free_bytes) == (24 * GIB, None, None)
    assert card.state is DeviceState.OK


def test_a_driver_without_a_total_is_an_error(tree: AmdTree) -> None:
    home = tree.card(CARD)
    (home / "mem_info_vram_total").unlink()
    (card,) = AmdgpuBackend(tree.root).read()
    assert (card.state, card.note) == (DeviceState.ERROR, "the driver does not report its memory")


def test_sensors_of_a_sleeping_card_are_not_asked(tree: AmdTree) -> None:
    tree.card(CARD)
    tree.put(CARD, **{"power/runtime_status": "suspended"})
    (card,) = AmdgpuBackend(tree.root).read()
    assert (card.utilization_ratio, card.power_watts) == (None, None)
    assert card.memory.used_bytes == GIB


@pytest.mark.parametrize("busy", [0, 100, 101, "x"])
def test_load_at_its_ends(tree: AmdTree, busy: object) -> None:
    tree.card(CARD)
    tree.put(CARD, gpu_busy_percent=busy)
    (card,) = AmdgpuBackend(tree.root).read()
    assert card.utilization_ratio == {0: 0.0, 100: 1.0}.get(busy)  # type: ignore[call-overload]


def test_bytes_that_kfd_does_not_tell_are_unknown_and_not_nothing(tree: AmdTree) -> None:
    tree.card(CARD)
    tree.computes(100, CARD, "N/A")
    (card,) = AmdgpuBackend(tree.root).read()
    assert held(card) == {100: None}


def test_processes_of_others_are_not_all(tree: AmdTree) -> None:
    """Descriptors of another user's process may not be listed. Root may, so the test gives that up for a moment."""
    tree.card(CARD)
    tree.opens(100, CARD, vram=GIB)
    closed = tree.root / "proc/200/fd"
    closed.mkdir(parents=True)
    closed.chmod(0)
    for folder in (tree.root, *tree.root.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o555)
    was = os.geteuid()
    try:
        if was == 0:
            os.seteuid(65534)
        (card,) = AmdgpuBackend(tree.root).read()
    finally:
        os.seteuid(was)
        closed.chmod(0o700)
    assert held(card) == {100: GIB}
    assert card.lists_all_processes is False
    (card,) = AmdgpuBackend(tree.root).read()
    assert card.lists_all_processes is True


def test_names_come_from_the_list_of_the_distribution(tree: AmdTree) -> None:
    tree.card(CARD, product=("0x73bf", "0xc3"))
    lists = tree.root / "usr/share/libdrm"
    lists.mkdir(parents=True)
    (lists / "amdgpu.ids").write_text("# comment\n1.0.0\n73BF,\tC3,\tAMD Radeon RX 6800\x1b[31m\n")
    (card,) = AmdgpuBackend(tree.root).read()
    assert card.name.startswith("AMD Radeon RX 6800")
    assert card.name.isprintable()


def test_where_there_is_no_sysfs_there_is_no_driver(tmp_path: Path) -> None:
    assert open_backend(tmp_path) is None


def test_a_machine_without_a_card_has_none(tree: AmdTree) -> None:
    assert AmdgpuBackend(tree.root).read() == ()


def test_a_tick_looks_through_a_bounded_number_of_processes(tmp_path: Path) -> None:
    """The first look is a full one. Later ones take new processes first and never more than the budget."""
    for pid in range(1000, 1000 + 5 * LOOKS_PER_TICK):
        (tmp_path / f"proc/{pid}/fd").mkdir(parents=True)
    clock = Clock()
    clients = DrmClients(frozenset({"amdgpu"}), tmp_path, clock)
    clients.read()
    tree = AmdTree(tmp_path / "other")
    for pid in range(1000, 1000 + 5 * LOOKS_PER_TICK):
        text = tree.fdinfo(CARD, pid, MIB, 0, "amdgpu")
        (tmp_path / f"proc/{pid}/fd/5").symlink_to("/dev/dri/card0")
        (tmp_path / f"proc/{pid}/fdinfo").mkdir()
        (tmp_path / f"proc/{pid}/fdinfo/5").write_text(text)
    clock.now += 2
    seen = [len(clients.read()) for _ in range(6)]
    assert seen == [LOOKS_PER_TICK * count for count in (1, 2, 3, 4, 5, 5)]


@pytest.mark.bench
def test_a_tick_with_two_cards_and_32_clients_is_cheap(tree: AmdTree) -> None:
    """Measured over many ticks: CPU seconds of this thread, so that other programs do not count."""
    for address in (CARD, OTHER):
        tree.card(address)
    for index in range(32):
        tree.opens(100 + index, CARD if index % 2 else OTHER, vram=GIB)
    for pid in range(1000, 1400):
        (tree.root / f"proc/{pid}/fd").mkdir(parents=True)
    backend = AmdgpuBackend(tree.root)
    backend.read()
    started = time.thread_time()
    for _ in range(50):
        backend.read()
    assert (time.thread_time() - started) / 50 < 0.015  # 0.005 on a calm machine: docs/performance.md


@given(text=st.text(max_size=400) | st.binary(max_size=400).map(lambda raw: raw.decode("latin-1")))
def test_no_text_of_a_stranger_hurts(text: str) -> None:
    for head in ("", "drm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0\n"):
        found = parse_fdinfo(head + text)
        assert found is None or all(size >= 0 for size in found.regions.values())


@given(st.integers(0, 2**40), st.sampled_from(["", " KiB", " MiB"]))
def test_sizes_have_three_units(number: int, unit: str) -> None:
    found = parse_fdinfo(f"drm-driver: amdgpu\ndrm-pdev: {CARD}\ndrm-resident-vram:\t{number}{unit}\n")
    assert found is not None
    assert found.regions == {"vram": number * {"": 1, " KiB": 1024, " MiB": MIB}[unit]}
