"""Whether anybody is still there."""

import select
import sys


def is_hung_up() -> bool:
    """Is the terminal behind standard input gone? SIGHUP may never come: nohup, a lost session, a closed pipe."""
    if sys.__stdin__ is None or sys.__stdin__.closed:
        return True
    poll = select.poll()
    poll.register(sys.__stdin__.fileno(), select.POLLIN)
    return any(what & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, what in poll.poll(0))
