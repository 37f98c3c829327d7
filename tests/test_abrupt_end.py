"""However kvtop ends, the terminal it was on can be used: a driver that aborts cannot be caught in its own process."""

import os
import signal
import sys
import termios
from pathlib import Path

import pytest

from tests.terminal import LEAVES_ALTERNATE_SCREEN, on_terminal

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "kvtop", "--demo", "rtx4090_llamacpp"]


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV], ids=lambda it: it.name)
def test_the_terminal_is_given_back(number: signal.Signals, tmp_path: Path) -> None:
    with on_terminal(COMMAND, cwd=ROOT, environ={"XDG_STATE_HOME": str(tmp_path)}) as terminal:
        before = termios.tcgetattr(terminal.master)
        terminal.read_until_shown("llama.cpp")
        assert termios.tcgetattr(terminal.master)[3] != before[3], "a dashboard reads keys, not lines"
        os.kill(terminal.process.pid, number)
        said = terminal.read_until(b"as it was")
        assert LEAVES_ALTERNATE_SCREEN in said
        assert b"\x1b[?25h" in said
        assert terminal.process.wait(60) == -number
        terminal.read_until_silent(0.5)
        after = termios.tcgetattr(terminal.master)
        assert after[:4] == before[:4]


def test_who_leaves_by_himself_hears_nothing_of_it(tmp_path: Path) -> None:
    with on_terminal(COMMAND, cwd=ROOT, environ={"XDG_STATE_HOME": str(tmp_path)}) as terminal:
        terminal.read_until_shown("llama.cpp")
        terminal.type(b"q")
        assert terminal.ended() == 0
        assert b"abruptly" not in terminal.read(0.5)
