"""Cards of xe and i915 on a synthetic tree; the answers of their system call are bytes as the kernel lays them out."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.domain.device import Device, DeviceMemory, DeviceState
from kvtop.sources.devices.intel import I915, XE
from kvtop.sources.devices.intel.reader import IntelBackend, open_backend
from kvtop.sources.devices.intel.regions import CardMemory, card_memory, parse_i915, parse_xe
from tests.sources.devices.kernel_tree import GIB, MIB, IntelTree

CARD, ON_THE_DIE = "0000:03:00.0", "0000:00:02.0"
HOST = DeviceMemory(64 * GIB, 20 * GIB, 44 * GIB)
DRIVERS = {"xe": XE, "i915": I915}


def xe_answer(*regions: tuple[int, int, int]) -> bytes:
    """(class, total, used): drm_xe_query_mem_regions."""
    rows = (struct.pack("=HHIQQQQ6Q", kind, 0, 4096, total, used, total, 0, *[0] * 6) for kind, total, used in regions)
    return struct.pack("=II", len(regions), 0) + b"".join(rows)


def i915_answer(*regions: tuple[int, int, int]) -> bytes:
    """(class, probed, unallocated): drm_i915_query_memory_regions."""
    rows = (struct.pack("=HHIQQ8Q", kind, 0, 0, probed, rest, *[0] * 8) for kind, probed, rest in regions)
    return struct.pack("=I3I", len(regions), 0, 0, 0) + b"".join(rows)


def backend(tree: IntelTree, answer: CardMemory | None = None) -> IntelBackend:
    return IntelBackend(DRIVERS[tree.driver], tree.root, host_memory=lambda: HOST, ask_memory=lambda *_: answer)


def held(device: Device) -> dict[int, int | None]:
    return {row.pid: row.used_bytes for row in device.processes or ()}


@pytest.fixture(params=["xe", "i915"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> IntelTree:
    return IntelTree(tmp_path, driver=request.param)


def test_a_card_whose_driver_tells_everything(tree: IntelTree) -> None:
    tree.arc(CARD)
    tree.opens(100, CARD, vram=8 * GIB, gtt=100 * MIB, client=4)
    tree.opens(100, CARD, vram=8 * GIB, gtt=100 * MIB, client=4, fd=9)
    tree.opens(200, CARD, vram=MIB, client=5)
    (card,) = backend(tree, CardMemory(12 * GIB, 9 * GIB)).read()
    assert (card.name, card.driver.name, card.state, card.note) == ("Intel Arc B580", tree.driver, DeviceState.OK, "")
    assert card.memory == DeviceMemory(12 * GIB, 9 * GIB, 3 * GIB)
    assert held(card) == {100: 8 * GIB, 200: MIB}
    assert (card.temperature_celsius, card.unified_memory, card.pci_address) == (54.0, False, CARD)


def test_without_the_right_to_know_used_is_a_sum_and_says_so(tree: IntelTree) -> None:
    tree.arc(CARD)
    tree.opens(100, CARD, vram=8 * GIB)
    (card,) = backend(tree, CardMemory(12 * GIB, None)).read()
    assert card.memory == DeviceMemory(12 * GIB, 8 * GIB, 4 * GIB)
    assert card.note.startswith("used is the sum of the visible processes")


def test_a_node_that_may_not_be_opened_is_an_error_with_the_remedy(tree: IntelTree) -> None:
    tree.arc(CARD)
    (card,) = backend(tree).read()
    assert (card.state, card.memory.total_bytes) == (DeviceState.ERROR, None)
    assert "renderD" in card.note


def test_xe_tells_the_size_in_sysfs_too(tmp_path: Path) -> None:
    tree = IntelTree(tmp_path)
    tree.arc(CARD, tile_bytes=12 * GIB)
    (card,) = backend(tree).read()
    assert (card.state, card.memory.total_bytes) == (DeviceState.OK, 12 * GIB)


def test_on_the_die_memory_is_the_machines(tree: IntelTree) -> None:
    tree.arc(ON_THE_DIE, device="0x7d55")
    tree.opens(100, ON_THE_DIE, gtt=4 * GIB)
    (card,) = backend(tree).read()
    assert card.unified_memory
    assert card.memory == DeviceMemory(64 * GIB, 4 * GIB, 44 * GIB)
    assert held(card) == {100: 4 * GIB}
    assert (card.state, card.note, card.name) == (DeviceState.OK, "", "Intel Arc Graphics")


def test_a_driver_reads_its_own_cards_only(tmp_path: Path) -> None:
    tree = IntelTree(tmp_path)
    tree.arc(CARD)
    assert IntelBackend(I915, tmp_path).read() == ()
    assert open_backend(XE, tmp_path / "nowhere") is None


def test_a_card_that_is_gone(tree: IntelTree) -> None:
    tree.arc(CARD)
    reader = backend(tree, CardMemory(12 * GIB, GIB))
    reader.read()
    tree.unplug(CARD)
    (card,) = reader.read()
    assert card.state is DeviceState.LOST


def test_names_come_from_the_list_of_the_machine(tree: IntelTree) -> None:
    tree.arc(CARD, device="0xe223")
    lists = tree.root / "usr/share/misc"
    lists.mkdir(parents=True)
    (lists / "pci.ids").write_text(
        "# pci.ids\n1002  Somebody else\n\te223  Not this\n8086  Its maker\n\t0001  First\n\te223  BMG G31 [Arc B770]\n"
        "\t\t8086 1234  A subsystem\n9005  The next\n\te223  Not this either\n"
    )
    (card,) = backend(tree, CardMemory(GIB, None)).read()
    assert card.name == "Intel Arc B770"


def test_regions_of_the_card_are_summed() -> None:
    assert parse_xe(xe_answer((0, 64 * GIB, GIB), (1, 12 * GIB, 3 * GIB))) == CardMemory(12 * GIB, 3 * GIB)
    assert parse_xe(xe_answer((0, 64 * GIB, 0), (1, 8 * GIB, 0), (1, 8 * GIB, 0))) == CardMemory(16 * GIB, None)
    assert parse_xe(xe_answer((0, 64 * GIB, 0))) is None
    assert parse_i915(i915_answer((0, 64 * GIB, 64 * GIB), (1, 16 * GIB, 4 * GIB))) == CardMemory(16 * GIB, 12 * GIB)
    assert parse_i915(i915_answer((1, 16 * GIB, 16 * GIB))) == CardMemory(16 * GIB, None)


@given(st.binary(max_size=300))
def test_no_answer_hurts(answer: bytes) -> None:
    for parse in (parse_xe, parse_i915):
        found = parse(answer)
        assert found is None or found.total_bytes > 0


def test_a_node_of_another_kind_answers_nothing(tmp_path: Path) -> None:
    """The real system call, on what is there everywhere: a file that is no card, and one that is not there."""
    (tmp_path / "renderD128").write_text("no card")
    for driver in ("xe", "i915"):
        assert card_memory(driver, tmp_path / "renderD128") is None
        assert card_memory(driver, Path("/dev/null")) is None
        assert card_memory(driver, tmp_path / "renderD129") is None
