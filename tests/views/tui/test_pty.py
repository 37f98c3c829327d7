"""The dashboard as a process on a terminal: bytes, leaving, hanging up."""

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from kvtop.verbs.command_line import exit_codes
from kvtop.views.tui.terminal.pace import QUESTION
from tests.terminal import LEAVES_ALTERNATE_SCREEN, PATIENCE_SECONDS, Terminal, on_terminal

ROOT = Path(__file__).parents[3]


@contextmanager
def dashboard(play: str, columns: int = 100, lines: int = 30, **more: str) -> Iterator[Terminal]:
    """Runs the player on a terminal of that size until its first frame stands."""
    command = [sys.executable, "-m", "tests.views.tui.tui_player", play]
    with on_terminal(command, columns, lines, cwd=ROOT, environ=more) as terminal:
        terminal.read_until(b"KV reserved")
        # The rest of the frame; plays that move are silent between their seconds.
        terminal.read_until_silent(0.3)
        yield terminal


def test_nothing_changed_nothing_sent() -> None:
    with dashboard("still") as terminal:
        terminal.read_until_silent(3)


@pytest.mark.parametrize(
    ("play", "keys", "budget"), [("three", b"", 5_000), ("three", b"\r", 5_000), ("busy", b"", 20_000)]
)
def test_a_second_stays_under_its_byte_budget(play: str, budget: int, keys: bytes) -> None:
    with dashboard(play, 130, 40) as terminal:
        if keys:
            os.write(terminal.master, keys)
            terminal.read_until(b"Slots")
            terminal.read_until_silent(0.3)
        begun, sent = time.monotonic(), b""
        while time.monotonic() < begun + 4 or (not sent and time.monotonic() < begun + PATIENCE_SECONDS):
            sent += terminal.read(0.5)
        assert sent
        assert len(sent) / (time.monotonic() - begun) <= budget


def test_no_color_sends_no_colour() -> None:
    with dashboard("slots", NO_COLOR="1") as terminal:
        os.write(terminal.master, b"8")
        sent = terminal.read_until(b"answered") + terminal.read_until_silent(0.3)
        codes = {code for run in re.findall(rb"\x1b\[([0-9;]*)m", sent) for code in run.split(b";") if code}
        assert codes <= {b"0", b"1", b"2", b"7", b"39", b"49"}


def test_a_terminal_that_does_not_keep_up_is_sent_less() -> None:
    with dashboard("three", 130, 40) as terminal:
        asked = QUESTION.encode()
        quick = terminal.read(PATIENCE_SECONDS, until=lambda got: got.count(asked) >= 3)
        assert quick.count(asked) >= 3
        terminal.answers_after = 1.0
        terminal.read_until(b"slow terminal")
        # An answer takes a second, and the line rests for another: a question in two seconds, and one was on its way.
        assert terminal.read(5).count(asked) <= 3


def test_a_key_answers_while_the_sources_hang() -> None:
    """Nothing ever comes from the sources: without the key nothing is drawn. How soon is measured by `make bench`."""
    with dashboard("hanging") as terminal:
        for key, word in ((b"?", b"Keys on this screen"), (b"\x1b", b"Servers"), (b"8", b"answered")):
            os.write(terminal.master, key)
            terminal.read_until(word)


def test_a_resize_storm_ends_in_the_last_size() -> None:
    with dashboard("slots") as terminal:
        for step in range(60):
            terminal.resize(60 + step * 7 % 140, 20 + step * 3 % 40)
            terminal.read(0.02)
        terminal.resize(60, 20)
        ends = time.monotonic() + PATIENCE_SECONDS
        head = foot = ""
        while not ("kvtop" in head and "q quit" in foot):
            assert time.monotonic() < ends, (head, foot)
            # A screen drawn anew: what had been drawn during the storm belongs to other sizes.
            terminal.read_until_silent(0.3)
            screen = pyte.Screen(60, 20)
            stream = pyte.ByteStream(screen)
            for key, word in ((b"8", b"answered"), (b"1", b"Servers")):
                os.write(terminal.master, key)
                stream.feed(terminal.read_until(word) + terminal.read_until_silent(0.3))
            head, foot = screen.display[0], screen.display[19]


@pytest.mark.parametrize(
    ("play", "key"), [("still", b"q"), ("hanging", b"q"), ("hanging", b"\x03"), ("stuck_thread", b"q")]
)
def test_leaves_whatever_hangs(play: str, key: bytes) -> None:
    """What hangs never comes back: to leave at all is not to wait for it. How soon is measured by `make bench`."""
    with dashboard(play) as terminal:
        terminal.type(key)
        assert terminal.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signals_end_it(number: int) -> None:
    with dashboard("hanging") as terminal:
        os.kill(terminal.process.pid, number)
        assert terminal.ended() == 128 + number


def test_a_closed_terminal_ends_it() -> None:
    with dashboard("slots") as terminal:
        os.close(terminal.master)
        terminal.master = -1
        terminal.process.wait(PATIENCE_SECONDS)


def test_an_exported_size_is_not_the_terminals() -> None:
    with dashboard("still", 60, 20, COLUMNS="200", LINES="60") as terminal:
        screen = pyte.Screen(60, 20)
        stream = pyte.ByteStream(screen)
        for key, word in ((b"8", b"answered"), (b"1", b"Servers")):
            os.write(terminal.master, key)
            stream.feed(terminal.read_until(word) + terminal.read_until_silent(0.3))
        assert "kvtop" in screen.display[0]
        assert "q quit" in screen.display[19]


def test_what_goes_past_everything_ends_it_and_gives_the_terminal_back() -> None:
    with dashboard("interrupted") as terminal:
        assert LEAVES_ALTERNATE_SCREEN in terminal.read(PATIENCE_SECONDS)
        assert terminal.process.wait(PATIENCE_SECONDS) == exit_codes.INTERRUPTED


def test_suspends_and_comes_back() -> None:
    with dashboard("still") as terminal:
        os.write(terminal.master, b"\x1a")
        terminal.read_until(LEAVES_ALTERNATE_SCREEN)
        os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED | os.WNOWAIT)
        os.kill(terminal.process.pid, signal.SIGCONT)
        screen = pyte.Screen(100, 30)
        stream = pyte.ByteStream(screen)
        ends = time.monotonic() + PATIENCE_SECONDS
        # Nothing of the picture before is left: all of it must be drawn anew, what does not change too.
        while not ("Devices" in screen.display[1] and "q quit" in screen.display[29]):
            assert time.monotonic() < ends, screen.display
            stream.feed(terminal.read(0.2))
        assert "host memory" in "".join(screen.display)


def test_a_terminal_that_goes_as_a_shell_takes_it_along_ends_it() -> None:
    """A hang-up comes with SIGCONT, upon which the toolkit starts on the terminal anew."""
    with dashboard("slots") as terminal:
        os.close(terminal.master)
        terminal.master = -1
        for number in (signal.SIGHUP, signal.SIGCONT):
            os.kill(terminal.process.pid, number)
        terminal.process.wait(PATIENCE_SECONDS)
