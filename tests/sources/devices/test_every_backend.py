"""What holds for every backend, asked through the reader: each in a process of its own, in front of its stand-in.

NVML is the real binding in front of the stand-in library, amdgpu the real reader in front of a synthetic tree, and
"second" a backend of the tests' own, so that none of the rules below is one maker's.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from kvtop.sources.devices import BACKENDS, driver_named
from tests.conftest import BuildStandin, StandinNvml
from tests.sources.devices.conftest import Ask, AskDevices
from tests.sources.devices.kernel_tree import GIB, AmdTree, IntelTree

FIRST, SECOND = "0000:03:00.0", "0000:43:00.0"


class World(Protocol):
    """One backend's stand-in. `addresses` are of cards that exist; sizes are bytes."""

    @property
    def driver(self) -> str: ...

    @property
    def env(self) -> dict[str, str]: ...

    def show(self, cards: dict[str, "Card"]) -> None:
        """These cards and no others, now."""

    def hang(self, hangs: bool) -> None:
        """From now on no call comes back, or they do again."""

    def deny(self) -> None:
        """What processes hold may not be seen, from now on."""


class Card:
    """A card of 24 GiB with what processes hold; None is listed without bytes."""

    def __init__(self, used: int, **held: int | None) -> None:
        self.used = used
        self.held = {int(pid.removeprefix("p")): size for pid, size in held.items()}


class NvmlWorld:
    driver = "nvml"

    def __init__(self, standin: StandinNvml) -> None:
        self._standin = standin
        self._lines: list[str] = []
        self._more: list[str] = []
        self.env = standin.env

    def show(self, cards: dict[str, Card]) -> None:
        self._lines = []
        for index, (address, card) in enumerate(cards.items()):
            gpu = f"gpu{index}"
            self._lines += [f"device {gpu}", f"pci {gpu} {address}", f"total {gpu} {24 * GIB}"]
            self._lines += [f"used {gpu} {card.used}", f"reserved {gpu} 0"]
            self._lines += [
                f"process {gpu} compute {pid} {'na' if size is None else size}" for pid, size in card.held.items()
            ]
        self._write()

    def hang(self, hangs: bool) -> None:
        self._more = ["hang nvmlDeviceGetMemoryInfo gpu0"] if hangs else []
        self._write()

    def deny(self) -> None:
        self._more = ["error nvmlDeviceGetComputeRunningProcesses * 4"]
        self._write()

    def _write(self) -> None:
        self._standin.write_scenario("\n".join([*self._lines, *self._more]) + "\n")


class AmdWorld:
    driver = "amdgpu"

    def __init__(self, tree: AmdTree, env: dict[str, str]) -> None:
        self._tree = tree
        self._pids: set[int] = set()
        self.env = env | {"KVTOP_TEST_TREE_amdgpu": str(tree.root)}

    def show(self, cards: dict[str, Card]) -> None:
        for gone in set(self._tree.homes) - set(cards):
            self._tree.unplug(gone)
        for pid in self._pids:
            self._tree.ends(pid)
        for address, card in cards.items():
            if address not in self._tree.homes:
                self._tree.card(address)
            self._tree.put(address, mem_info_vram_total=24 * GIB, mem_info_vram_used=card.used)
            for pid, size in card.held.items():
                self._pids.add(pid)
                self._tree.computes(pid, address, "N/A" if size is None else size)

    def hang(self, hangs: bool) -> None:
        flag = self._tree.root / "hang"
        flag.touch() if hangs else flag.unlink()

    def deny(self) -> None:
        """As another user without KFD: what may not be looked at is not there."""
        for pid in self._pids:
            self._tree.ends(pid)


class IntelWorld:
    def __init__(self, tree: IntelTree, env: dict[str, str]) -> None:
        self.driver = tree.driver
        self._tree = tree
        self._pids: set[int] = set()
        self.env = env | {f"KVTOP_TEST_TREE_{tree.driver}": str(tree.root)}
        (tree.root / "answers").mkdir()

    def show(self, cards: dict[str, Card]) -> None:
        for gone in set(self._tree.homes) - set(cards):
            self._tree.unplug(gone)
        self.deny()
        for address, card in cards.items():
            if address not in self._tree.homes:
                self._tree.arc(address)
            (node,) = (self._tree.homes[address] / "drm").glob("renderD*")
            (self._tree.root / "answers" / node.name).write_text(f"{24 * GIB} {card.used}\n")
            for pid, size in card.held.items():
                self._pids.add(pid)
                self._tree.opens(pid, address, vram=size or 0)
                if size is None:
                    info = self._tree.root / f"proc/{pid}/fdinfo/7"
                    kept = info.read_text().splitlines()
                    info.write_text("\n".join(line for line in kept if "resident" not in line) + "\n")

    def hang(self, hangs: bool) -> None:
        flag = self._tree.root / "hang"
        flag.touch() if hangs else flag.unlink()

    def deny(self) -> None:
        for pid in self._pids:
            self._tree.ends(pid)


class SecondWorld:
    driver = "second"

    def __init__(self, file: Path, env: dict[str, str]) -> None:
        self._file = file
        self._state: dict[str, Any] = {}
        self.env = env | {"KVTOP_TEST_SECOND": str(file)}

    def show(self, cards: dict[str, Card]) -> None:
        self._state["cards"] = [
            {"address": address, "used": card.used, "held": list(card.held.items())} for address, card in cards.items()
        ]
        self._write()

    def hang(self, hangs: bool) -> None:
        self._state["hangs"] = hangs
        self._write()

    def deny(self) -> None:
        self._state["denied"] = True
        self._write()

    def _write(self) -> None:
        following = self._file.with_suffix(".next")
        following.write_text(json.dumps(self._state))
        following.replace(self._file)


MakeWorld = Callable[[str], World]


@pytest.fixture
def make_world(build_standin_nvml: BuildStandin, tmp_path: Path) -> MakeWorld:
    """A world by the name of its driver; each sees no other backend but the host unless its variables are joined."""

    def make(driver: str) -> World:
        standin = build_standin_nvml()
        plain = standin.env | {"KVTOP_TEST_ONLY": driver}
        if driver == "nvml":
            standin.env["KVTOP_TEST_ONLY"] = driver
            return NvmlWorld(standin)
        if driver == "amdgpu":
            return AmdWorld(AmdTree(tmp_path / driver), plain)
        if driver in {"xe", "i915"}:
            return IntelWorld(IntelTree(tmp_path / driver, driver=driver), plain)
        return SecondWorld(tmp_path / "second.json", plain)

    return make


DRIVERS = ("nvml", "amdgpu", "xe", "i915", "second")


@pytest.fixture(params=DRIVERS)
def world(request: pytest.FixtureRequest, make_world: MakeWorld) -> World:
    """One backend after the other."""
    return make_world(request.param)


@pytest.fixture
def reader(world: World, ask_devices: Ask) -> AskDevices:
    """A reader of that backend, started when its world is shown for the first time."""
    world.show({FIRST: Card(9 * GIB, p4711=8 * GIB)})
    return ask_devices(world, retry_seconds=0.2)


def cards(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: device for name, device in answer["devices"].items() if name != "host"}


def test_every_backend_of_the_table_is_tried_here() -> None:
    elsewhere = {"apple"}  # lists no processes and has no address: test_apple.py
    assert {backend.name for backend in BACKENDS} - elsewhere <= {*DRIVERS, "host"}


def test_totals_and_processes(world: World, reader: AskDevices) -> None:
    answer = reader.read()
    (card,) = cards(answer).values()
    assert answer["failures"] == []
    assert (card["id"], card["driver"], card["state"]) == ("gpu0", world.driver, "ok")
    memory = card["memory"]
    assert (memory["total_bytes"], memory["used_bytes"], memory["free_bytes"]) == (24 * GIB, 9 * GIB, 15 * GIB)
    assert [(row["pid"], row["used_bytes"]) for row in card["processes"]] == [(4711, 8 * GIB)]
    assert card["pci_address"] == FIRST


def test_bytes_that_are_not_told_are_unknown(world: World, reader: AskDevices) -> None:
    reader.read()
    world.show({FIRST: Card(9 * GIB, p1=None, p2=GIB)})
    (card,) = cards(reader.read()).values()
    assert {row["pid"]: row["used_bytes"] for row in card["processes"]} == {1: None, 2: GIB}


def test_without_permission_nothing_is_made_up(world: World, reader: AskDevices) -> None:
    reader.read()
    world.deny()
    (card,) = cards(reader.read()).values()
    assert card["memory"]["used_bytes"] == 9 * GIB
    assert card["state"] == "ok"
    assert not card["processes"]


def test_a_hang_leaves_the_last_figures_and_the_host(world: World, reader: AskDevices) -> None:
    reader.read()
    world.hang(True)
    answer = reader.read(0.3)
    (card,) = cards(answer).values()
    assert (card["state"], card["memory"]["used_bytes"]) == ("stale", 9 * GIB)
    assert answer["devices"]["host"]["state"] == "ok"
    world.hang(False)
    answer = reader.read_until(lambda it: all(card["state"] == "ok" for card in cards(it).values()))
    assert list(cards(answer)) == ["gpu0"]


def test_a_hang_from_the_start_is_told_and_ends_with_the_process(world: World, ask_devices: Ask) -> None:
    world.show({FIRST: Card(GIB)})
    world.hang(True)
    reader = ask_devices(world)
    answer = reader.read(0.3)
    assert list(answer["devices"]) == ["host"]
    (failure,) = answer["failures"]
    assert (failure["source"], failure["is_of_driver"]) == (world.driver, True)
    assert failure["message"].startswith("the driver has not answered for")
    seconds, code, _ = reader.quit()
    assert (code, seconds < 30) == (0, True)


def test_a_card_that_vanishes_and_comes_back_keeps_its_number(world: World, reader: AskDevices) -> None:
    world.show({FIRST: Card(GIB), SECOND: Card(2 * GIB)})
    answer = reader.read_until(lambda it: len(cards(it)) == 2 and _are_well(it))
    assert [it["pci_address"] for it in cards(answer).values()] == [FIRST, SECOND]
    world.show({SECOND: Card(3 * GIB)})
    answer = reader.read_until(lambda it: len(cards(it)) == 1 and _are_well(it))
    assert {name: it["memory"]["used_bytes"] for name, it in cards(answer).items()} == {"gpu1": 3 * GIB}
    world.show({FIRST: Card(4 * GIB), SECOND: Card(3 * GIB)})
    answer = reader.read_until(lambda it: len(cards(it)) == 2 and _are_well(it))
    assert {name: it["pci_address"] for name, it in cards(answer).items()} == {"gpu0": FIRST, "gpu1": SECOND}


def _are_well(answer: dict[str, Any]) -> bool:
    return all(card["state"] == "ok" for card in cards(answer).values())


def _together(*worlds: World) -> "Joined":
    env: dict[str, str] = {}
    for world in worlds:
        env |= world.env
    env["KVTOP_TEST_ONLY"] = ",".join(world.driver for world in worlds)
    return Joined(env)


class Joined:
    def __init__(self, env: dict[str, str]) -> None:
        self.env = env


@pytest.mark.parametrize("drivers", [("nvml", "amdgpu"), ("nvml", "second"), ("amdgpu", "xe"), ("xe", "i915")])
def test_two_drivers_share_one_count(drivers: tuple[str, str], make_world: MakeWorld, ask_devices: Ask) -> None:
    one, other = map(make_world, drivers)
    one.show({FIRST: Card(GIB, p1=GIB)})
    other.show({SECOND: Card(2 * GIB, p2=GIB)})
    answer = ask_devices(_together(one, other)).read()
    assert {name: it["driver"] for name, it in cards(answer).items()} == {"gpu0": drivers[0], "gpu1": drivers[1]}
    assert [row["pid"] for it in cards(answer).values() for row in it["processes"]] == [1, 2]


@pytest.mark.parametrize("drivers", [("nvml", "amdgpu"), ("nvml", "second"), ("amdgpu", "second")])
def test_a_card_that_two_drivers_report_is_the_first_ones(
    drivers: tuple[str, str], make_world: MakeWorld, ask_devices: Ask
) -> None:
    one, other = map(make_world, drivers)
    one.show({FIRST: Card(GIB)})
    other.show({FIRST: Card(2 * GIB), SECOND: Card(3 * GIB)})
    answer = ask_devices(_together(one, other)).read()
    assert {name: (it["driver"], it["pci_address"]) for name, it in cards(answer).items()} == {
        "gpu0": (drivers[0], FIRST),
        "gpu1": (drivers[1], SECOND),
    }


@pytest.mark.parametrize("drivers", [("nvml", "amdgpu"), ("amdgpu", "nvml"), ("nvml", "second"), ("second", "amdgpu")])
def test_one_driver_that_hangs_takes_no_other_away(
    drivers: tuple[str, str], make_world: MakeWorld, ask_devices: Ask
) -> None:
    hanging, other = map(make_world, drivers)
    hanging.show({FIRST: Card(GIB)})
    other.show({SECOND: Card(2 * GIB)})
    hanging.hang(True)
    reader = ask_devices(_together(hanging, other))
    answer = reader.read(2.0)
    assert [it["driver"] for it in cards(answer).values()] == [drivers[1]]
    assert [failure["source"] for failure in answer["failures"]] == [drivers[0]]
    other.show({SECOND: Card(5 * GIB)})
    answer = reader.read(30.0)  # the one that hangs is not waited for again
    assert answer["seconds"] < 15
    (card,) = cards(answer).values()
    assert (card["state"], card["memory"]["used_bytes"]) == ("ok", 5 * GIB)
    hanging.hang(False)
    answer = reader.read_until(lambda it: len(cards(it)) == 2 and _are_well(it))
    assert len({it["pci_address"] for it in cards(answer).values()}) == 2


def test_a_driver_has_its_name_in_recordings() -> None:
    for backend in BACKENDS:
        assert driver_named(backend.name) is backend.driver
    assert driver_named("abacus").compute_apis == ()


def test_the_page_lists_every_driver_with_its_variables() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "devices.md").read_text(encoding="utf-8")
    for backend in BACKENDS:
        assert f"| `{backend.name}` |" in page
        for api in backend.driver.compute_apis:
            assert all(f"`{name}`" in page for step in api.variables for name in step)
