"""The command that runs an MLX server with kvtop's reporter inside: the same interpreter, the same words."""

import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

REPORT_VARIABLE = "KVTOP_REPORT_FILE"
REPORTER = Path(__file__).resolve().parents[2] / "reporters" / "mlx_reporter.py"

_PYTHON = re.compile(r"(?:[Pp]ython|pypy)[\d.]*")
_HEAD_BYTES = 4096


class WrapError(Exception):
    """The command cannot be wrapped. str() says why and what would be accepted; `is_missing`: no such program."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


def wrapped_command(words: Sequence[str], flags: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """What to execute instead of `words`, the program first: interpreter, reporter, then the words.

    `flags` are the interpreter's own options where the program is Python. Raises WrapError.
    """
    program = shutil.which(words[0], path=environ.get("PATH"))
    if program is None:
        raise WrapError(f"{words[0]}: command not found", is_missing=True)
    if _PYTHON.fullmatch(posixpath.basename(words[0])):
        return [program, *flags, str(REPORTER), *words[1 + len(flags) :]]
    return [*interpreter_of(program, environ), str(REPORTER), program, *words[1:]]


def remove_left_over(folder: Path) -> None:
    """Delete the reports of servers that were killed: of pids that are no more, and of this one's former owner."""
    for path in folder.glob("mlx-*.json*"):
        pid = path.name.removeprefix("mlx-").split(".", 1)[0]
        if pid.isdigit() and (int(pid) == os.getpid() or not _is_alive(int(pid))):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def interpreter_of(script: str, environ: Mapping[str, str]) -> list[str]:
    """The Python that a script names in its first line, in any of the ways installers write it. Raises WrapError."""
    try:
        with Path(script).open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise WrapError(f"{script}: {error.strerror}") from error
    lines = head.decode("utf-8", "replace").splitlines()
    first = lines[0][2:].strip() if lines and lines[0].startswith("#!") else ""
    words = first.split(None, 1)
    if words and posixpath.basename(words[0]) == "sh" and len(lines) > 1 and lines[1].startswith("'''exec'"):
        # pip writes this where the path of the interpreter is too long for a first line, or has spaces.
        words = shlex.split(lines[1][len("'''exec'") :])[:1]
    elif words and posixpath.basename(words[0]) == "env":
        named = [word for word in first.split()[1:] if not word.startswith("-")]
        words = [shutil.which(named[0], path=environ.get("PATH")) or named[0]] if named else []
    if not words or not _PYTHON.fullmatch(posixpath.basename(words[0])):
        raise WrapError(f"{script}: not a Python script that kvtop can read; give python -m mlx_lm.server … instead")
    return words
