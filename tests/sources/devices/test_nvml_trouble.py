"""Drivers that fail, vanish and hang: other devices stay, old figures are marked old, and nothing waits for ever."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

GIB = 1 << 30


class Standin(Protocol):
    """The fixture `standin_nvml`, as far as these tests use it."""

    env: dict[str, str]

    def write_scenario(self, text: str) -> None: ...
    def calls(self) -> list[tuple[str, str]]: ...


class Reader(Protocol):
    """A running program under test, as far as these tests use it."""

    def read(self, seconds: float = 60.0, verb: str = "read") -> dict[str, Any]: ...
    def read_until(self, accept: Callable[[dict[str, Any]], bool]) -> dict[str, Any]: ...
    def quit(self) -> tuple[float, int, str]: ...


StartReader = Callable[..., Reader]


def _only(answer: dict[str, Any], device_id: str = "gpu0") -> dict[str, Any]:
    device: dict[str, Any] = answer["devices"][device_id]
    return device


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        (9, "the NVIDIA driver is not loaded", "modprobe"),
        (18, "the NVIDIA library was updated but the loaded kernel module was not", "reboot"),
        (4, "no permission to talk to the NVIDIA driver", "/dev/nvidia"),
        (999, "the NVIDIA driver reports an unknown error", "restart the container"),
        (777, "the NVIDIA driver cannot be used: NVML error 777", "nvidia-smi"),
    ],
)
def test_a_driver_that_does_not_start_is_one_failure_with_a_remedy(
    standin_nvml: Standin, ask_devices: StartReader, code: int, message: str, remedy: str
) -> None:
    standin_nvml.write_scenario(f"device gpu0\nerror nvmlInit * {code}\n")
    reader = ask_devices(standin_nvml)
    answer = reader.read()
    assert list(answer["devices"]) == ["host"]
    (failure,) = answer["failures"]
    assert failure["source"] == "nvml"
    assert failure["message"].startswith(message)
    assert remedy in failure["remedy"]
    assert reader.read()["failures"] == [failure]
    assert [function for function, _ in standin_nvml.calls()].count("nvmlInit") == 1  # not asked again at once


def test_a_machine_without_the_library_shows_its_memory(
    standin_nvml: Standin, ask_devices: StartReader, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "libnvidia-ml.so.1").write_bytes(b"no library")
    standin_nvml.env["LD_LIBRARY_PATH"] = str(broken)
    answer = ask_devices(standin_nvml).read()
    assert _only(answer, "host")["memory"]["total_bytes"] > 0
    (failure,) = answer["failures"]
    assert failure["message"].startswith("no NVIDIA driver library")


def test_a_driver_that_starts_late_is_found(standin_nvml: Standin, ask_devices: StartReader) -> None:
    standin_nvml.write_scenario("device gpu0\nerror nvmlInit * 9\n")
    reader = ask_devices(standin_nvml, retry_seconds=0.1)
    assert len(reader.read()["failures"]) == 1
    standin_nvml.write_scenario("device gpu0\n")
    answer = reader.read_until(lambda answer: "gpu0" in answer["devices"])
    assert answer["failures"] == []


def test_a_driver_that_is_unloaded_leaves_stale_figures_and_comes_back(
    standin_nvml: Standin, ask_devices: StartReader
) -> None:
    reader = ask_devices(standin_nvml, retry_seconds=0.1)
    measured_at = _only(reader.read())["measured_at"]
    standin_nvml.write_scenario("device gpu0\nerror nvmlDevice * 9\nerror nvmlInit * 9\n")
    answer = reader.read()
    assert _only(answer)["state"] == "stale"
    assert _only(answer)["measured_at"] == measured_at
    assert _only(answer)["memory"]["used_bytes"] == GIB
    assert "not loaded" in answer["failures"][0]["message"]
    standin_nvml.write_scenario("device gpu0\n")
    answer = reader.read_until(lambda answer: _only(answer)["state"] == "ok")
    assert answer["failures"] == []


@pytest.mark.parametrize(("code", "state"), [(15, "lost"), (999, "error")])
def test_a_card_lost_before_the_start_leaves_the_others(
    standin_nvml: Standin, ask_devices: StartReader, code: int, state: str
) -> None:
    standin_nvml.write_scenario(f"device gpu0\nerror nvmlDeviceGetHandle gpu0 {code}\ndevice gpu1\n")
    answer = ask_devices(standin_nvml).read()
    assert answer["failures"] == []
    assert _only(answer)["state"] == state
    assert _only(answer)["memory"]["total_bytes"] is None
    assert _only(answer)["processes"] is None
    assert _only(answer, "gpu1")["state"] == "ok"


def test_a_card_lost_while_running_keeps_its_last_figures_and_returns(
    standin_nvml: Standin, ask_devices: StartReader
) -> None:
    world = "device gpu0\ndevice gpu1\nprocess gpu1 compute 7 4096\n"
    standin_nvml.write_scenario(world)
    reader = ask_devices(standin_nvml)
    measured_at = _only(reader.read(), "gpu1")["measured_at"]
    standin_nvml.write_scenario(world + "lost gpu1\n")
    answer = reader.read()
    assert _only(answer)["state"] == "ok"
    assert _only(answer, "gpu1")["state"] == "lost"
    assert _only(answer, "gpu1")["measured_at"] == measured_at
    assert _only(answer, "gpu1")["processes"][0]["used_bytes"] == 4096
    standin_nvml.write_scenario(world)
    assert _only(reader.read(), "gpu1")["state"] == "ok"


def test_unknown_errors_for_a_while(standin_nvml: Standin, ask_devices: StartReader) -> None:
    reader = ask_devices(standin_nvml)
    reader.read()
    standin_nvml.write_scenario("device gpu0\nused gpu0 5\nerror nvmlDevice * 999\n")
    card = _only(reader.read())
    assert (card["state"], card["note"]) == ("error", "unknown error")
    assert card["memory"]["used_bytes"] == GIB
    standin_nvml.write_scenario("device gpu0\nused gpu0 5\n")
    card = _only(reader.read())
    assert (card["state"], card["note"]) == ("ok", "")
    assert card["memory"]["used_bytes"] == 5


def test_every_call_failing_with_every_code_is_survived(standin_nvml: Standin, ask_devices: StartReader) -> None:
    standin_nvml.write_scenario("device gpu0\ndevice gpu1\n")
    reader = ask_devices(standin_nvml, retry_seconds=0.0)
    reader.read()
    for code in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 25, 777, 999):
        standin_nvml.write_scenario(f"device gpu0\nerror nvmlDevice gpu0 {code}\ndevice gpu1\n")
        answer = reader.read()
        assert {"gpu0", "gpu1"} <= set(answer["devices"]), code
        standin_nvml.write_scenario("device gpu0\ndevice gpu1\n")
        assert _only(reader.read())["state"] == "ok", code


def test_a_card_that_comes_is_met(standin_nvml: Standin, ask_devices: StartReader) -> None:
    reader = ask_devices(standin_nvml)
    assert "gpu1" not in reader.read()["devices"]
    standin_nvml.write_scenario("device gpu0\ndevice gpu1\n")
    answer = reader.read_until(lambda answer: "gpu1" in answer["devices"])
    assert _only(answer, "gpu1")["state"] == "ok"


@pytest.mark.parametrize("verb", ["read", "read_once"])
def test_a_call_that_never_returns_at_the_start(standin_nvml: Standin, ask_devices: StartReader, verb: str) -> None:
    standin_nvml.write_scenario("device gpu0\nhang nvmlInit *\n")
    reader = ask_devices(standin_nvml)
    answer = reader.read(0.2, verb)
    assert answer["seconds"] < 20  # the call never returns
    assert list(answer["devices"]) == ["host"]
    waited = re.fullmatch(r"the driver has not answered for (\d+) s", answer["failures"][0]["message"])
    assert waited is not None
    time.sleep(1)
    longer = re.fullmatch(waited.re, reader.read(0.1, verb)["failures"][0]["message"])
    assert longer is not None
    assert int(longer[1]) > int(waited[1])
    seconds, status, errors = reader.quit()
    assert (status, errors) == (0, "")
    assert seconds < 20  # and not after the call, which never returns


def test_a_call_that_never_returns_while_running(standin_nvml: Standin, ask_devices: StartReader) -> None:
    reader = ask_devices(standin_nvml)
    measured_at = _only(reader.read())["measured_at"]
    standin_nvml.write_scenario("device gpu0\nused gpu0 5\nhang nvmlDeviceGetMemoryInfo gpu0\n")
    for _ in range(3):
        answer = reader.read(0.2)
        assert answer["seconds"] < 20  # the call never returns
        assert answer["failures"] == []
        assert _only(answer)["state"] == "stale"
        assert _only(answer)["measured_at"] == measured_at
        assert _only(answer)["memory"]["used_bytes"] == GIB
        assert _only(answer, "host")["state"] == "ok"
    hung = [function for function, _ in standin_nvml.calls()].count("nvmlDeviceGetMemoryInfo")
    assert hung == 2  # one that answered and one that hangs: refreshes do not queue up
    standin_nvml.write_scenario("device gpu0\nused gpu0 5\n")
    answer = reader.read()
    assert _only(answer)["state"] == "ok"
    assert _only(answer)["memory"]["used_bytes"] == 5


def test_leaving_during_a_call_that_never_returns(standin_nvml: Standin, ask_devices: StartReader) -> None:
    reader = ask_devices(standin_nvml)
    reader.read()
    standin_nvml.write_scenario("device gpu0\nhang nvmlDeviceGetUtilization gpu0\n")
    assert _only(reader.read(0.1))["state"] == "stale"
    seconds, status, errors = reader.quit()
    assert (status, errors) == (0, "")
    assert seconds < 20  # and not after the call, which never returns


def test_a_driver_slower_than_the_deadline_still_gets_shown(standin_nvml: Standin, ask_devices: StartReader) -> None:
    standin_nvml.write_scenario("device gpu0\nused gpu0 5\ndelay nvmlDeviceGetMemoryInfo gpu0 1000\n")
    reader = ask_devices(standin_nvml)
    assert "gpu0" not in reader.read(0.1)["devices"]
    ends = time.monotonic() + 60
    while "gpu0" not in (answer := reader.read(0.05))["devices"] and time.monotonic() < ends:
        time.sleep(0.05)
    card = _only(answer)
    assert (card["state"], card["memory"]["used_bytes"]) == ("ok", 5)


def test_a_warning_of_the_binding_at_import_is_kept_off_the_screen(
    standin_nvml: Standin, ask_devices: StartReader, tmp_path: Path
) -> None:
    foreign = tmp_path / "site"
    package = foreign / "pynvml"
    package.mkdir(parents=True)
    # Like version 11 of the distribution named pynvml: a package that shadows the module, with fewer functions.
    (package / "__init__.py").write_text(
        "import warnings\nwarnings.warn('deprecated', FutureWarning, stacklevel=2)\n"
        "import importlib.util, pathlib, sys\n"
        "places = [pathlib.Path(p) / 'pynvml.py' for p in sys.path]\n"
        "path = next(place for place in places if place.exists())\n"
        "spec = importlib.util.spec_from_file_location('pynvml.nvml', path)\n"
        "nvml = importlib.util.module_from_spec(spec)\nsys.modules['pynvml.nvml'] = nvml\n"
        "spec.loader.exec_module(nvml)\n"
        "for name in dir(nvml):\n"
        "    if name not in ('NVMLLibraryMismatchError', 'nvmlDeviceGetMigMode', 'nvmlLib'):\n"
        "        globals().setdefault(name, getattr(nvml, name))\n"
    )
    standin_nvml.env["PYTHONPATH"] = f"{foreign}:{standin_nvml.env['PYTHONPATH']}"
    standin_nvml.write_scenario("device gpu0\nprocess gpu0 compute 7 9\n")
    reader = ask_devices(standin_nvml)
    assert _only(reader.read())["processes"] == [{"pid": 7, "used_bytes": 9, "contexts": ["compute"]}]
    assert reader.quit()[1:] == (0, "")
