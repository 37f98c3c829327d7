"""What the driver says becomes devices. The driver is a stand-in with the real C interface, in another process."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import psutil
import pytest

GIB = 1 << 30


class Standin(Protocol):
    """The fixture `standin_nvml`, as far as these tests use it."""

    env: dict[str, str]

    def write_scenario(self, text: str) -> None: ...
    def calls(self) -> list[tuple[str, str]]: ...


class Reader(Protocol):
    """A running program under test, as far as these tests use it."""

    def read(self, seconds: float = 5.0, verb: str = "read") -> dict[str, Any]: ...
    def read_until(self, accept: Callable[[dict[str, Any]], bool]) -> dict[str, Any]: ...
    def quit(self) -> tuple[float, int, str]: ...


StartReader = Callable[..., Reader]


def _only(answer: dict[str, Any], device_id: str = "gpu0") -> dict[str, Any]:
    device: dict[str, Any] = answer["devices"][device_id]
    return device


def test_a_card_with_processes(standin_nvml: Standin, ask_devices: StartReader) -> None:
    standin_nvml.write_scenario(
        f"device gpu0\nname gpu0 NVIDIA RTX 4090\nuuid gpu0 GPU-12\npci gpu0 0000:01:00\n"
        f"total gpu0 {24 * GIB}\nused gpu0 {9 * GIB}\n"
        f"reserved gpu0 {GIB}\ncc gpu0 8 9\nutil gpu0 73\ntemp gpu0 61\npower gpu0 312500\npower_limit gpu0 450000\n"
        "clock gpu0 2520\nclock_limit gpu0 3105\n"
        f"process gpu0 compute 4711 {8 * GIB}\n"
        "device gpu1\n"
    )
    answer = ask_devices(standin_nvml).read()
    assert answer["failures"] == []
    assert list(answer["devices"]) == ["gpu0", "gpu1", "host"]
    card = _only(answer)
    assert card.pop("measured_at") == pytest.approx(_only(answer, "gpu1")["measured_at"], abs=5)
    assert card == {
        "id": "gpu0",
        "name": "NVIDIA RTX 4090",
        "driver": "nvml",
        "memory": {
            "total_bytes": 24 * GIB,
            "used_bytes": 9 * GIB,
            "free_bytes": 14 * GIB,
            "reserved_bytes": GIB,
        },
        "processes": [{"pid": 4711, "used_bytes": 8 * GIB, "contexts": ["compute"]}],
        "state": "ok",
        "note": "",
        "uuid": "GPU-12",
        "parent_id": None,
        "compute_capability": [8, 9],
        "unified_memory": False,
        "utilization_ratio": 0.73,
        "temperature_celsius": 61.0,
        "power_watts": 312.5,
        "power_limit_watts": 450.0,
        "clock_mhz": 2520.0,
        "pci_address": "0000:01:00.0",
        "lists_all_processes": True,
        "clock_limit_mhz": 3105.0,
    }
    assert _only(answer, "gpu1")["processes"] == []


def test_a_process_in_several_lists_counts_once_with_its_largest_figure(
    standin_nvml: Standin, ask_devices: StartReader
) -> None:
    standin_nvml.write_scenario(
        "device gpu0\nprocess gpu0 compute 7 3000\nprocess gpu0 graphics 7 5000\nprocess gpu0 mps 7 na\n"
        "process gpu0 mps 8 1\ndevice gpu1\nprocess gpu1 compute 7 20\n"
    )
    answer = ask_devices(standin_nvml).read()
    assert _only(answer)["processes"] == [
        {"pid": 7, "used_bytes": 5000, "contexts": ["compute", "graphics", "mps"]},
        {"pid": 8, "used_bytes": 1, "contexts": ["mps"]},
    ]
    assert _only(answer, "gpu1")["processes"] == [{"pid": 7, "used_bytes": 20, "contexts": ["compute"]}]


def test_unknown_figures_stay_unknown(standin_nvml: Standin, ask_devices: StartReader) -> None:
    standin_nvml.write_scenario("device gpu0\nfree gpu0 na\nreserved gpu0 na\nprocess gpu0 compute 7 na\n")
    card = _only(ask_devices(standin_nvml).read())
    assert card["memory"]["reserved_bytes"] is None
    assert card["processes"] == [{"pid": 7, "used_bytes": None, "contexts": ["compute"]}]


def test_nonsense_of_a_driver_becomes_unknown(standin_nvml: Standin, ask_devices: StartReader) -> None:
    standin_nvml.write_scenario(
        "device gpu0\nname gpu0 \\x1b[31mRTX\\xff \\x074090\\x1b]0;title\\x07\ntotal gpu0 1000\nused gpu0 5000\n"
        "util gpu0 250\ntemp gpu0 4000\npower gpu0 4294967295\n"
        "process gpu0 compute 4000000000 900\nprocess gpu0 compute 0 10\nprocess gpu0 compute 5 2000\n"
    )
    card = _only(ask_devices(standin_nvml).read())
    assert card["name"] == "RTX\ufffd 4090"
    assert card["memory"]["total_bytes"] == 1000
    assert card["memory"]["used_bytes"] is None
    assert card["note"] == "the driver reports more used than there is"
    assert card["utilization_ratio"] is None
    assert card["temperature_celsius"] is None
    assert card["power_watts"] is None
    assert {line["pid"]: line["used_bytes"] for line in card["processes"]} == {4000000000: 900, 0: 10, 5: None}


def test_slices_are_devices_and_slots_have_holes(standin_nvml: Standin, ask_devices: StartReader) -> None:
    cut = "device gpu0\nmig gpu0 7\nerror nvmlDeviceGetUtilizationRates gpu0 3\n"
    first = f"device gpu0:mig1\nname gpu0:mig1 A100 MIG 3g.20gb\ntotal gpu0:mig1 {20 * GIB}\nused gpu0:mig1 {5 * GIB}\n"
    second = "device gpu0:mig4\nprocess gpu0:mig4 compute 9 77\n"
    standin_nvml.write_scenario(cut + first + "process gpu0:mig1 compute 8 4096\n" + second + "device gpu1\n")
    reader = ask_devices(standin_nvml)
    answer = reader.read()
    assert list(answer["devices"]) == ["gpu0", "gpu0:mig1", "gpu0:mig4", "gpu1", "host"]
    assert _only(answer)["processes"] == []
    assert _only(answer)["parent_id"] is None
    one = _only(answer, "gpu0:mig1")
    assert one["parent_id"] == "gpu0"
    assert one["name"] == "A100 MIG 3g.20gb"
    assert one["uuid"] == "MIG-gpu0:mig1"
    assert one["memory"]["total_bytes"] == 20 * GIB
    assert one["processes"] == [{"pid": 8, "used_bytes": 4096, "contexts": ["compute"]}]
    assert one["utilization_ratio"] is None
    # The positions of devices stand for handles, so the world changes only at its end.
    standin_nvml.write_scenario(cut + first + second + "device gpu1\ndevice gpu0:mig6\n")
    answer = reader.read_until(lambda answer: "gpu0:mig6" in answer["devices"])
    assert list(answer["devices"]) == ["gpu0", "gpu0:mig1", "gpu0:mig4", "gpu0:mig6", "gpu1", "host"]
    standin_nvml.write_scenario(cut + first + second + "device gpu1\n")
    reader.read_until(lambda answer: "gpu0:mig6" not in answer["devices"])


def test_a_card_whose_memory_needs_permission_still_shows_its_slices(
    standin_nvml: Standin, ask_devices: StartReader
) -> None:
    standin_nvml.write_scenario("device gpu0\nmig gpu0 7\ndevice gpu0:mig0\nerror nvmlDeviceGetMemoryInfo gpu0 4\n")
    answer = ask_devices(standin_nvml).read()
    card = _only(answer)
    assert card["memory"]["total_bytes"] is None
    assert card["state"] == "ok"
    assert card["note"] == "memory: insufficient permissions"
    assert not card["unified_memory"]
    assert _only(answer, "gpu0:mig0")["memory"]["total_bytes"] == 24 * GIB


def test_a_forbidden_process_list_is_unknown_and_not_empty(standin_nvml: Standin, ask_devices: StartReader) -> None:
    standin_nvml.write_scenario("device gpu0\nerror nvmlDeviceGetCompute gpu0 4\ndevice gpu1\n")
    answer = ask_devices(standin_nvml).read()
    assert _only(answer)["processes"] is None
    assert _only(answer)["note"] == "compute processes: insufficient permissions"
    assert _only(answer)["memory"]["used_bytes"] == GIB
    assert _only(answer, "gpu1")["processes"] == []


@pytest.mark.parametrize("how", ["error nvmlDeviceGetMemoryInfo gpu0 3", "total gpu0 0", "total gpu0 MACHINE"])
def test_a_part_that_shares_the_machines_memory(standin_nvml: Standin, ask_devices: StartReader, how: str) -> None:
    total_bytes = psutil.virtual_memory().total
    standin_nvml.write_scenario(
        f"device gpu0\n{how.replace('MACHINE', str(total_bytes))}\n"
        "process gpu0 compute 7 3000\nprocess gpu0 graphics 7 3000\nprocess gpu0 graphics 8 50\n"
    )
    reader = ask_devices(standin_nvml)
    card = _only(reader.read())
    assert card["unified_memory"]
    assert card["state"] == "ok"
    assert card["memory"]["total_bytes"] == total_bytes
    assert card["memory"]["used_bytes"] == 3050
    standin_nvml.write_scenario("device gpu0\nprocess gpu0 compute 7 3000\n")
    card = _only(reader.read())
    assert not card["unified_memory"]
    assert card["memory"]["total_bytes"] == 24 * GIB


def test_a_shared_memory_with_a_silent_process_has_an_unknown_sum(
    standin_nvml: Standin, ask_devices: StartReader
) -> None:
    standin_nvml.write_scenario(
        "device gpu0\nerror nvmlDeviceGetMemoryInfo gpu0 3\nprocess gpu0 compute 7 3000\nprocess gpu0 compute 8 na\n"
    )
    assert _only(ask_devices(standin_nvml).read())["memory"]["used_bytes"] is None


@pytest.mark.parametrize("flag", ["-DOLD_DRIVER=1", "-DOLD_DRIVER=2", "-DEARLY_535"])
def test_older_drivers_give_the_same_processes(
    build_standin_nvml: Callable[..., Standin], ask_devices: StartReader, flag: str
) -> None:
    standin = build_standin_nvml(flag)
    standin.write_scenario(
        "device gpu0\nused gpu0 600\nreserved gpu0 70\n"
        "process gpu0 compute 7 3000\nprocess gpu0 compute 8 na\nprocess gpu0 graphics 9 5000\n"
    )
    answer = ask_devices(standin).read()
    assert answer["failures"] == []
    card = _only(answer)
    assert [(line["pid"], line["used_bytes"]) for line in card["processes"]] == [(7, 3000), (8, None), (9, 5000)]
    # The first memory call has no reserve of its own: it counts as used.
    expected = (600, 70) if flag == "-DEARLY_535" else (670, None)
    assert (card["memory"]["used_bytes"], card["memory"]["reserved_bytes"]) == expected


def test_long_and_growing_lists_are_read_whole(standin_nvml: Standin, ask_devices: StartReader) -> None:
    long = "".join(f"process gpu0 compute {1000 + n} {n}\n" for n in range(400))
    standin_nvml.write_scenario("device gpu0\ngrow nvmlDeviceGetCompute gpu0 1\n" + long)
    reader = ask_devices(standin_nvml)
    assert len(_only(reader.read())["processes"]) == 400
    standin_nvml.write_scenario("device gpu0\ngrow nvmlDeviceGetCompute gpu0 9\n" + long)
    card = _only(reader.read())
    assert card["processes"] is None
    assert card["note"] == "compute processes: insufficient size"


def test_a_refresh_stays_within_six_calls_a_device(standin_nvml: Standin, ask_devices: StartReader) -> None:
    world = "device gpu0\ndevice gpu1\nmig gpu1 7\ndevice gpu1:mig0\ndevice gpu1:mig5\ndevice gpu2\n"
    world += "".join(f"process gpu{n % 3} {kind} {n} 9\n" for n in range(30) for kind in ("compute", "graphics", "mps"))
    standin_nvml.write_scenario(world)
    reader = ask_devices(standin_nvml)
    reader.read()
    busiest = 0
    for turn in range(8):
        if turn == 3:  # every list outgrows its buffer at once
            standin_nvml.write_scenario(world + "grow nvmlDeviceGet * 1\n")
        before = len(standin_nvml.calls())
        reader.read()
        spent = Counter(device for _, device in standin_nvml.calls()[before:])
        assert spent.pop("-", 0) <= 1
        assert max(spent.values()) <= 6
        busiest = max(busiest, *spent.values())
    assert busiest >= 5
    assert not [function for function, _ in standin_nvml.calls() if "PcieThroughput" in function]
    assert [function for function, _ in standin_nvml.calls()].count("nvmlInit") == 1


def test_the_limits_of_what_a_card_can_say(standin_nvml: Standin, ask_devices: StartReader) -> None:
    said = [(0, 0), (1, 1), (99, 199), (100, 200), (101, 201)]
    lines = (
        f"device gpu{index}\nutil gpu{index} {util}\ntemp gpu{index} {temp}\n"
        for index, (util, temp) in enumerate(said)
    )
    standin_nvml.write_scenario("".join(lines))
    answer = ask_devices(standin_nvml).read()
    cards = [_only(answer, f"gpu{index}") for index in range(len(said))]
    assert [card["utilization_ratio"] for card in cards] == [0.0, 0.01, 0.99, 1.0, None]
    assert [card["temperature_celsius"] for card in cards] == [0.0, 1.0, 199.0, None, None]
