"""A program on a terminal of its own: what it draws, the keys that are typed to it, how it ends."""

import os
import pty
import select
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pyte

from kvtop.views.tui.terminal.pace import QUESTION

LEAVES_ALTERNATE_SCREEN = b"\x1b[?1049l"
PATIENCE_SECONDS = 120.0
"""For what must come at some time, however much the machine has to do."""
_TAKEN_OUT = frozenset({"NO_COLOR", "COLUMNS", "LINES", "KVTOP_THEME"})


class Terminal:
    """The near end of a pty with a process on the far end."""

    def __init__(self, master: int, process: "subprocess.Popen[bytes]", columns: int, lines: int) -> None:
        self.master, self.process = master, process
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._unseen = bytearray()
        self.answers_after = 0.0
        """Seconds from a question for the cursor's place to its answer; a slow line."""
        self._due: list[float] = []

    def resize(self, columns: int, lines: int) -> None:
        """Another size, and the signal that tells of it."""
        ioctl(self.master, TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.kill(self.process.pid, signal.SIGWINCH)

    def _answer(self, got: bytes) -> None:
        now = time.monotonic()
        self._due += [now + self.answers_after] * got.count(QUESTION.encode())
        while self._due and self._due[0] <= now:
            del self._due[0]
            os.write(self.master, b"\x1b[1;1R")

    def read_until(self, word: bytes) -> bytes:
        """All bytes up to a word that must come."""
        got = self.read(PATIENCE_SECONDS, until=lambda got: word in got)
        assert word in got
        return got

    def read_until_silent(self, seconds: float) -> bytes:
        """All bytes until so long nothing came, which must happen."""
        end, got = time.monotonic() + PATIENCE_SECONDS, b""
        while piece := self.read(seconds):
            got += piece
            assert time.monotonic() < end, "it never falls silent"
        return got

    def read(self, seconds: float, until: Callable[[bytes], bool] = lambda _: False) -> bytes:
        """All bytes of that time, or until that holds of them; questions are answered."""
        end = time.monotonic() + seconds
        got = b""
        while (left := end - time.monotonic()) > 0 and not until(got):
            if select.select([self.master], [], [], min(left, 0.1))[0]:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:
                    break
                if not piece:
                    break
                got += piece
                self._unseen += piece
                self._answer(piece)
            else:
                self._answer(b"")
        return got

    def type(self, keys: bytes) -> None:
        """Keys as a terminal sends them."""
        os.write(self.master, keys)

    def shown(self) -> str:
        """The text that a person sees now, of everything that was read so far."""
        self._stream.feed(bytes(self._unseen))
        self._unseen.clear()
        return "\n".join(self._screen.display)

    def read_until_shown(self, *words: str) -> str:
        """What a person sees once all these words stand on the screen together, which must happen."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while missing := [word for word in words if word not in self.shown()]:
            is_over = self.process.poll() is not None or time.monotonic() > ends
            if not self.read(0.1) and is_over:
                raise AssertionError(f"never shown: {missing}\n{self.shown()}")
        return self.shown()

    def read_until_gone(self, words: str) -> None:
        """Until these words stand on the screen no more, which must happen."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while words in self.shown():
            assert time.monotonic() < ends, f"never gone: {words}\n{self.shown()}"
            self.read(0.1)

    def ended(self) -> int:
        """The exit status, once it has left the screen and is gone."""
        self.read_until(LEAVES_ALTERNATE_SCREEN)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def on_terminal(
    command: Sequence[str],
    columns: int = 100,
    lines: int = 30,
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Runs a command on a terminal of that size; `environ` is added to ours. It is killed where it still runs."""
    master, slave = pty.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    ours = {name: value for name, value in os.environ.items() if name not in _TAKEN_OUT}
    ours |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", **(environ or {})}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=ours, cwd=cwd, start_new_session=True
    )
    os.close(slave)
    terminal = Terminal(master, process, columns, lines)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if terminal.master >= 0:
            os.close(terminal.master)
