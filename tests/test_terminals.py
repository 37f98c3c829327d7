"""The dashboard on terminals that can do less than most: by the entry that TERM names, not by guessing."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import time
from fcntl import ioctl
from termios import TIOCSWINSZ

import pytest

from kvtop.views.tui.terminal.kind import TerminalKind, terminal_kind

PATIENCE_SECONDS = 90.0
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)(?:;\d+)*m")


def drawn(term: str, until: bytes, **more: str) -> bytes:
    """What `kvtop --demo` sends to a terminal of that name, up to those words or to its end."""
    master, slave = pty.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    taken = {"NO_COLOR", "COLORTERM", "KVTOP_THEME"}
    environ = {name: value for name, value in os.environ.items() if name not in taken}
    environ |= {"TERM": term, "LC_ALL": "C.UTF-8", **more}
    command = [sys.executable, "-m", "kvtop", "--demo"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ) as process:
        os.close(slave)
        got, end = b"", time.monotonic() + PATIENCE_SECONDS
        while until not in got and time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    piece = os.read(master, 65536)
                except OSError:
                    break
                got += piece
            elif process.poll() is not None:
                break
        process.send_signal(signal.SIGKILL)
    os.close(master)
    assert until in got, got
    return got


def test_a_terminal_without_colours_is_sent_none() -> None:
    assert not COLOUR.search(drawn("vt100", b"KV reserved"))
    assert COLOUR.search(drawn("xterm-256color", b"KV reserved", NO_COLOR=""))


def test_a_terminal_with_few_colours_gets_its_own_palette() -> None:
    got = drawn("xterm", b"Servers")
    assert COLOUR.search(got)
    assert not re.search(rb"[34]8;[25];", got)
    # No background of ours: the "dark" theme has one.
    assert not re.search(rb"\x1b\[(?:\d+;)*4[0-7](?:;\d+)*m", got)
    assert re.search(rb"\x1b\[(?:\d+;)*40(?:;\d+)*m", drawn("xterm", b"Servers", KVTOP_THEME="dark"))


def test_a_terminal_that_cannot_place_text_is_told_what_can() -> None:
    got = drawn("dumb", b"--accessible")
    assert b"\x1b" not in got
    assert b"'dumb'" in got


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({"TERM": "vt100", "COLORTERM": "truecolor"}, TerminalKind()),
        ({"TERM": "no-such-terminal"}, TerminalKind()),
        ({}, TerminalKind()),
    ],
)
def test_what_is_not_known_holds_nobody_back(environ: dict[str, str], kind: TerminalKind) -> None:
    assert terminal_kind(environ) == kind
    assert not kind.is_monochrome
    assert not kind.has_few_colours
    assert kind.can_place
