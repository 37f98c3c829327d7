"""What happens when kvtop itself is at fault: one sentence, a report file, and exit code 70. Never a traceback.

A traceback of the interpreter names values, and the toolkit's own prints the local variables of every call: the command
lines and environments of other people's processes among them. Neither may reach a terminal, a log or an issue.
"""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import NoReturn

from kvtop.verbs.command_line import exit_codes

_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""What the machine does not give, whoever asks: no fault of the program."""

_noted: list[str] = []
"""The sentences of faults in threads and tasks, which nobody could be told while the program ran."""


def told(error: BaseException, doing: str = "") -> int:
    """Write the report, print the sentence; gives the exit code."""
    if isinstance(error, OSError) and error.errno in _LIMITS:
        _print(f"this machine gives no more: {error.strerror}")
        return exit_codes.FAILED
    _print(_sentence(error, doing))
    return exit_codes.INTERNAL_ERROR


def status(code: int) -> int:
    """The exit code of a run that ended with `code`: that of an internal error where a thread or a task had one."""
    if not _noted:
        return code
    for sentence in _noted:
        _print(sentence)
    _noted.clear()
    return exit_codes.INTERNAL_ERROR


def leave(code: int) -> NoReturn:
    """End the process now, whatever its threads do: a driver call that never returns would keep it alive."""
    code = status(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@contextmanager
def watched(*, with_tasks: bool) -> Iterator[None]:
    """While this runs, faults in threads and tasks end the program with a report, and print nothing by themselves.

    `with_tasks` only where there is an event loop: watching it costs the import of `logging`.
    """
    threads, unraisable = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = _of_thread, _of_destructor
    try:
        with _watched_tasks() if with_tasks else nullcontext():
            yield
    finally:
        threading.excepthook, sys.unraisablehook = threads, unraisable


@contextmanager
def _watched_tasks() -> Iterator[None]:
    """What asyncio logs: a task whose exception nobody asked for. What it says of connections is no fault of kvtop."""
    import logging  # noqa: PLC0415  see `watched`

    def take(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception) and not isinstance(error, OSError):
            _note(error, "a task in the background")
        return False

    tasks = logging.getLogger("asyncio")
    tasks.addFilter(take)
    try:
        yield
    finally:
        tasks.removeFilter(take)


def _of_thread(args: threading.ExceptHookArgs) -> None:
    if isinstance(args.exc_value, SystemExit) or args.exc_value is None:
        return
    _note(args.exc_value, "a thread in the background")
    # Without that thread the rest would wait for ever: end as with Ctrl-C, and tell it then.
    with suppress(OSError, ValueError):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _of_destructor(args: "sys.UnraisableHookArgs") -> None:
    """What a destructor raises is too late to matter to anybody: the report alone is written."""
    if isinstance(args.exc_value, Exception):
        _report(args.exc_value, "a destructor")


def _note(error: BaseException, doing: str) -> None:
    sentence = _sentence(error, doing)
    if sentence not in _noted:
        _noted.append(sentence)


def _sentence(error: BaseException, doing: str) -> str:
    title, path = _report(error, doing)
    where = f"its report is {path}" if path else "its report could not be written anywhere"
    return f"internal error ({title}): a fault of kvtop, not of your files or options; {where}"


def _report(error: BaseException, doing: str) -> tuple[str, str]:
    from kvtop.io.fault_reports import write_report  # noqa: PLC0415  only after a fault

    fault, path = write_report(error, doing)
    return fault.title, "" if path is None else str(path)


def _print(sentence: str) -> None:
    with suppress(OSError, ValueError):
        print(f"kvtop: {sentence}", file=sys.stderr, flush=True)
