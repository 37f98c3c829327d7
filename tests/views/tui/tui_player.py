"""Plays frames in the dashboard, as a process of its own: what a pty test runs. Argument: what to play."""

import asyncio
import fcntl
import os
import sys
import termios
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.frame import Frame
from kvtop.sources.demo import scenario
from kvtop.verbs.dashboard import shown_to_the_end
from kvtop.views.tui.app import KvtopApp
from tests.views.tui.tui_scenes import rtx4090


async def still() -> AsyncIterator[Frame]:
    """The same frame, made anew each tenth of a second."""
    while True:
        yield rtx4090()
        await asyncio.sleep(0.1)


async def slots() -> AsyncIterator[Frame]:
    """The slots fill, once a second."""
    for tick in range(1000):
        yield rtx4090((6144 + 37 * tick, 12900 + 29 * tick, 51 * tick, 811))
        await asyncio.sleep(1)


async def three() -> AsyncIterator[Frame]:
    """One card, three servers, all busy, once a second."""
    for tick in range(1000):
        frame = rtx4090((6144 + 37 * tick, 12900 + 29 * tick, 51 * tick, 811))
        (server,) = frame.servers
        ids = ("127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082")
        servers = tuple(replace(server, reading=replace(server.reading, id=name)) for name in ids)
        yield replace(frame, servers=servers, taken_at=frame.taken_at + tick)
        await asyncio.sleep(1)


async def busy() -> AsyncIterator[Frame]:
    """Eight devices and 32 servers, all busy, once a second."""
    history, host = History(), scenario("busy_32")
    for tick in range(1000):
        yield analyse(history, host.at(float(tick)), "0.1.0")
        await asyncio.sleep(1)


async def hanging() -> AsyncIterator[Frame]:
    """One frame, then a call that neither comes back nor lets itself be cancelled."""
    yield rtx4090()
    while True:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            continue


async def stuck_thread() -> AsyncIterator[Frame]:
    """One frame, then a thread that never ends: a driver that hangs."""
    yield rtx4090()
    await asyncio.to_thread(threading.Event().wait)


async def interrupted() -> AsyncIterator[Frame]:
    """One frame, then what goes past Textual and everything else."""
    yield rtx4090()
    await asyncio.sleep(4)
    raise KeyboardInterrupt("past everything")


if __name__ == "__main__":
    # The test made this a session leader: the terminal must be its own, or closing it hangs nobody up.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    plays = (still, slots, three, busy, hanging, stuck_thread, interrupted)
    play = {play.__name__: play for play in plays}[sys.argv[1]]
    status = shown_to_the_end(KvtopApp(play, no_color="NO_COLOR" in os.environ))
    sys.stdout.flush()
    # What the command line does too: a thread that never ends would keep the interpreter.
    os._exit(status)
