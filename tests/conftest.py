"""Fixtures for the whole suite: recorded cases in groups, and a stand-in for the NVIDIA driver library."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.oracle.every_case import EveryCase
from tests.processors import processors

# Time on the wall says nothing on a machine that others use too.
settings.register_profile("kvtop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kvtop")

# A shell that runs the tests in the background has them ignore Ctrl-C, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

_SOURCE = Path(__file__).parent / "standin_nvml" / "standin_nvml.c"


@dataclass(frozen=True)
class StandinNvml:
    """A compiled stand-in, and the world that it shows. Give `env` to the program under test."""

    library: Path
    scenario: Path
    calls_path: Path
    env: dict[str, str]

    def write_scenario(self, text: str) -> None:
        """Change the world; a program that runs sees it at its next call."""
        following = self.scenario.with_suffix(".next")
        following.write_text(text, encoding="utf-8")
        following.replace(self.scenario)

    def calls(self) -> list[tuple[str, str]]:
        """(function, device) of every call so far; "-" where the call has no device."""
        if not self.calls_path.exists():
            return []
        pairs = (line.split() for line in self.calls_path.read_text(encoding="utf-8").splitlines())
        return [(function, device) for function, device in pairs]


BuildStandin = Callable[..., StandinNvml]


@pytest.hookimpl(optionalhook=True)  # without xdist nobody asks
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors for us: tests of terminals and servers wait more than they compute."""
    return processors() + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--case", default="", metavar="TEXT", help="of recorded cases only those whose id contains TEXT")


@pytest.fixture(scope="session")
def every_case(request: pytest.FixtureRequest) -> EveryCase:
    """`every_case(cases, answers)` compares all cases of a group and fails with all that differ."""
    chosen = request.config.getoption("--case")
    assert isinstance(chosen, str)
    return EveryCase(chosen)


@pytest.fixture(scope="session")
def dead_address() -> Iterator[str]:
    """HOST:PORT that refuses every connection: the port is taken, and nothing listens on it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(scope="session")
def _standin_library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    built: dict[tuple[str, ...], Path] = {}

    def build(flags: tuple[str, ...]) -> Path:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: the stand-in for the driver library cannot be built")
        if flags not in built:
            target = tmp_path_factory.mktemp("standin_nvml") / "libnvidia-ml.so.1"
            command = [
                compiler,
                "-shared",
                "-fPIC",
                "-O1",
                "-Wall",
                *flags,
                "-o",
                str(target),
                str(_SOURCE),
                "-lpthread",
            ]
            subprocess.run(command, check=True)
            built[flags] = target
        return built[flags]

    return build


@pytest.fixture
def build_standin_nvml(_standin_library: Callable[[tuple[str, ...]], Path], tmp_path: Path) -> BuildStandin:
    """Builds a stand-in with compiler flags: `build_standin_nvml("-DOLD_DRIVER=2")`."""

    def build(*flags: str) -> StandinNvml:
        library = _standin_library(flags)
        scenario, calls = tmp_path / "nvml_scenario.txt", tmp_path / "nvml_calls.txt"
        scenario.write_text("device gpu0\n", encoding="utf-8")
        env = os.environ | {
            "LD_LIBRARY_PATH": str(library.parent),
            "STANDIN_NVML_SCENARIO": str(scenario),
            "STANDIN_NVML_CALLS": str(calls),
            "PYTHONPATH": str(_SOURCE.parents[2]),
        }
        return StandinNvml(library, scenario, calls, env)

    return build


@pytest.fixture
def standin_nvml(build_standin_nvml: BuildStandin) -> StandinNvml:
    """A driver library of today with one card; `write_scenario` changes the world."""
    return build_standin_nvml()
