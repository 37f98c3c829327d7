"""Whether the terminal has hung up, and a forced exit on SIGHUP."""

import os
import select
import sys
import termios
from contextlib import suppress
from threading import Timer

from textual.driver import Driver

_PATIENCE_SECONDS = 5.0
"""For leaving in order: a recording is closed in far less."""


def is_hung_up() -> bool:
    """Is the terminal behind standard input gone? SIGHUP may never come: nohup, a lost session, a closed pipe."""
    if sys.__stdin__ is None or sys.__stdin__.closed:
        return True
    poll = select.poll()
    poll.register(sys.__stdin__.fileno(), select.POLLIN)
    return any(what & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, what in poll.poll(0))


def force_exit(status: int) -> Timer:
    """Ends the process in some seconds, if it has not left by itself; the timer given can be cancelled.

    The toolkit writes through a thread that dies with its terminal, and waits for ever for room in that thread's queue.
    """
    late = Timer(_PATIENCE_SECONDS, os._exit, (status,))
    late.daemon = True
    late.start()
    return late


def give_terminal_back(driver: Driver | None) -> None:
    """What Textual does when it is left in order, for a way out that went past it.

    What restores the terminal goes through the writing thread too: it is waited for, or the end of the process would
    come before it.
    """
    if driver is not None:
        late = force_exit(1)
        # A terminal that is gone cannot be given back.
        with suppress(OSError, termios.error):
            driver.stop_application_mode()
            driver.close()
        late.cancel()
