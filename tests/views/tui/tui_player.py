"""Plays frames in the dashboard, as a process of its own: what a pty test runs. Argument: what to play."""

import asyncio
import fcntl
import os
import sys
import termios
import threading
from collections.abc import AsyncIterator

from tui_scenes import rtx4090

from kvtop.domain.frame import Frame
from kvtop.views.tui.app import KvtopApp


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


if __name__ == "__main__":
    # The test made this a session leader: the terminal must be its own, or closing it hangs nobody up.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    play = {play.__name__: play for play in (still, slots, hanging, stuck_thread)}[sys.argv[1]]
    status = KvtopApp(play).run_dashboard()
    sys.stdout.flush()
    # What the command line does too: a thread that never ends would keep the interpreter.
    os._exit(status)
