"""`kvtop` in the process of the test: what it prints and its exit code, without a start of a quarter of a second.

Streams are those of a pipe. What depends on a process of its own, such as signals, closed streams and variables that
Python itself reads, is tested in one.
"""

import contextlib
import io
import os
from dataclasses import dataclass
from typing import NoReturn
from unittest import mock

from kvtop.cli import main


@dataclass(frozen=True)
class Done:
    """As `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


class _LeftError(BaseException):
    """Some verbs end their process at once, whatever its threads do."""


def _leave(code: int) -> NoReturn:
    raise _LeftError(code)


def kvtop(*words: str) -> Done:
    """Runs one command to its end."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.object(os, "_exit", _leave):
        try:
            code: object = main(words)
        except SystemExit as left:
            code = left.code
        except _LeftError as left:
            code = left.args[0]
    assert isinstance(code, int), code
    return Done(code, *(it.buffer.getvalue().decode() for it in (out, err)))
