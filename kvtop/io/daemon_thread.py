"""Blocking work off the event loop, in threads that can never hold up the exit."""

import asyncio
import errno
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NoThreadError(OSError):
    """The machine gives no thread now (pids.max, RLIMIT_NPROC). It may a moment later."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "the machine gives no more threads now")


def started(thread: threading.Thread) -> None:
    """Start it. Raises NoThreadError."""
    try:
        thread.start()
    except RuntimeError:
        raise NoThreadError from None


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """The result of `work`, or its exception; NoThreadError. If the loop goes away first, the thread is left behind.

    Not `asyncio.to_thread`: its pool is joined when the loop closes, so a file on a dead network mount would keep the
    dashboard from leaving.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None is a T where work returns None

    def run() -> None:
        result: T | None = None
        caught: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  handed on to whoever awaits
            caught = error
        try:
            loop.call_soon_threadsafe(deliver, result, caught)
        except RuntimeError:
            return  # the loop has closed: nobody waits any more

    started(threading.Thread(target=run, name="kvtop blocking work", daemon=True))
    return await future
