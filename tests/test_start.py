"""Everything that opens the dashboard does open it, on a terminal of its own, and leaves with 0.

`make test-pythons` does the same with the built wheel on every Python that kvtop claims.
"""

import sys
from pathlib import Path

import pytest

from kvtop.sources.demo import scenario
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.writer import RecordingWriter
from tests.pythons.screens import leave, walk
from tests.terminal import on_terminal

KVTOP = (sys.executable, "-m", "kvtop")


def test_every_screen_opens() -> None:
    with on_terminal([*KVTOP, "--demo", "busy_32"], 120, 40) as terminal:
        walk(terminal)
        leave(terminal)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    writer = RecordingWriter(tmp_path / "host.kvtop", Info("1", 1.0))
    for second in range(20):
        writer.write(scenario("rtx4090_llamacpp").at(float(second)))
    writer.close()
    return tmp_path / "host.kvtop"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("Servers",)),
        (["--or-demo"], ("Servers",)),
        (["--no-discover", "--url", "http://DEAD"], ("Servers",)),
        (["--demo"], ("Servers", "KV reserved")),
        (["--demo", "nothing"], ("Servers",)),
        (["--demo", "--ascii"], ("Servers", "KV reserved")),
        (["--demo", "--theme", "light"], ("Servers", "KV reserved")),
        (["replay", "RECORDING"], ("RTX 4090",)),
    ],
    ids=["kvtop", "or-demo", "dead-url", "demo", "nothing", "ascii", "light", "replay"],
)
def test_every_verb_with_a_dashboard_opens_it(
    arguments: list[str], words: tuple[str, ...], recording: Path, tmp_path: Path, dead_address: str
) -> None:
    named = {"RECORDING": str(recording), "http://DEAD": f"http://{dead_address}"}
    command = [*KVTOP, *(named.get(word, word) for word in arguments)]
    with on_terminal(command, environ={"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}) as terminal:
        terminal.read_until_shown("q quit", *words)
        leave(terminal)
