"""The dashboard in a terminal that somebody reads, for measuring: CPU, bytes, memory, first paint, answers to keys."""

import os
import pty
import select
import struct
import sys
import threading
import time
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

KVTOP = str(Path(sys.executable).parent / "kvtop")
_TICK = os.sysconf("SC_CLK_TCK")


class Dashboard:
    """A process on a terminal of that size. The terminal answers what a modern one answers."""

    def __init__(self, command: Sequence[str], columns: int = 130, lines: int = 40) -> None:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            ioctl(0, TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.execvp(command[0], list(command))
        self._written_bytes = 0
        self._last = b""
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        while True:
            try:
                select.select([self._terminal], [], [])
                data = os.read(self._terminal, 65536)
            except OSError:
                return
            if b"\x1b[?2026$p" in data:
                os.write(self._terminal, b"\x1b[?2026;2$y")
            for _ in range(data.count(b"\x1b[6n")):
                os.write(self._terminal, b"\x1b[1;1R")
            with self._heard:
                self._written_bytes += len(data)
                self._last = (self._last + data)[-200_000:]
                self._heard.notify_all()

    def wait_for(self, word: str, seconds: float = 20.0) -> None:
        """Until that has been drawn. Raises TimeoutError."""
        with self._heard:
            if not self._heard.wait_for(lambda: word.encode() in self._last, seconds):
                raise TimeoutError(f"{word!r} was not drawn within {seconds:.0f} s")
            self._last = b""

    def cpu_seconds(self) -> float:
        """User and system time until now."""
        fields = Path(f"/proc/{self._pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def resident_mib(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    def window(self, seconds: float) -> tuple[float, float]:
        """(CPU per cent of a core, bytes per second) from now on."""
        cpu, written, started = self.cpu_seconds(), self._written_bytes, time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - started
        return (self.cpu_seconds() - cpu) / elapsed * 100, (self._written_bytes - written) / elapsed

    def answer_seconds(self, key: bytes, word: str) -> float:
        """From a key to the word that it brings."""
        with self._heard:
            self._last = b""
        started = time.monotonic()
        os.write(self._terminal, key)
        self.wait_for(word)
        return time.monotonic() - started

    def quit(self) -> float:
        """Press q; seconds until it has left."""
        started = time.monotonic()
        os.write(self._terminal, b"q")
        os.waitpid(self._pid, 0)
        os.close(self._terminal)
        return time.monotonic() - started
