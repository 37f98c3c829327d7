"""The dashboard as a process on a terminal: bytes, leaving, hanging up."""

import os
import pty
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

LEAVES_ALTERNATE_SCREEN = b"\x1b[?1049l"


class Terminal:
    """The near end of a pty with a process on the far end."""

    def __init__(self, master: int, process: "subprocess.Popen[bytes]") -> None:
        self.master, self.process = master, process

    def read(self, seconds: float, until: bytes | None = None) -> bytes:
        """All bytes of that time, or up to a word."""
        end = time.monotonic() + seconds
        got = b""
        while (left := end - time.monotonic()) > 0 and not (until is not None and until in got):
            if select.select([self.master], [], [], min(left, 0.1))[0]:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:
                    break
                if not piece:
                    break
                got += piece
        return got


@contextmanager
def dashboard(player: Path, play: str) -> Iterator[Terminal]:
    """Runs the player on a 100x30 terminal until its first frame stands."""
    master, slave = pty.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, str(player), play],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
    )
    os.close(slave)
    terminal = Terminal(master, process)
    try:
        assert b"gemma" in terminal.read(20, until=b"gemma")
        terminal.read(1.0)
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if terminal.master >= 0:
            os.close(terminal.master)


def test_nothing_changed_nothing_sent(player: Path) -> None:
    with dashboard(player, "still") as terminal:
        assert terminal.read(3) == b""


@pytest.mark.parametrize("keys", [b"", b"\r"], ids=["overview", "server"])
def test_filling_slots_stay_under_the_byte_budget(player: Path, keys: bytes) -> None:
    with dashboard(player, "slots") as terminal:
        os.write(terminal.master, keys)
        terminal.read(1.5)
        sent = terminal.read(4)
        assert sent
        assert len(sent) / 4 <= 5000


@pytest.mark.parametrize("play", ["still", "hanging", "stuck_thread"])
@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "ctrl-c"])
def test_leaves_within_a_second(player: Path, play: str, key: bytes) -> None:
    with dashboard(player, play) as terminal:
        begun = time.monotonic()
        os.write(terminal.master, key)
        sent = terminal.read(3, until=LEAVES_ALTERNATE_SCREEN)
        assert LEAVES_ALTERNATE_SCREEN in sent
        assert terminal.process.wait(3) == 0
        assert time.monotonic() - begun < 1.5  # a second, and half of one for a loaded machine


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signals_end_it(player: Path, number: int) -> None:
    with dashboard(player, "hanging") as terminal:
        os.kill(terminal.process.pid, number)
        assert LEAVES_ALTERNATE_SCREEN in terminal.read(3, until=LEAVES_ALTERNATE_SCREEN)
        assert terminal.process.wait(3) == 128 + number


def test_a_closed_terminal_ends_it(player: Path) -> None:
    with dashboard(player, "slots") as terminal:
        os.close(terminal.master)
        terminal.master = -1
        terminal.process.wait(5)


def test_suspends_and_comes_back(player: Path) -> None:
    with dashboard(player, "slots") as terminal:
        os.write(terminal.master, b"\x1a")
        assert LEAVES_ALTERNATE_SCREEN in terminal.read(3, until=LEAVES_ALTERNATE_SCREEN)
        os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED | os.WNOWAIT)
        os.kill(terminal.process.pid, signal.SIGCONT)
        assert b"gemma" in terminal.read(5, until=b"gemma")
