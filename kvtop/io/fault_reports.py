"""Where a fault of kvtop itself is written down, so that it can be reported: a small file of code locations."""

import hashlib
import os
import platform
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kvtop import __version__
from kvtop.domain.answers.fault import Fault, failure_of, fault_of
from kvtop.domain.sample import Failure
from kvtop.io.private_directory import private_directory

REPORTS_KEPT = 20
"""Older reports are removed: a fault that comes with every tick is one file, and a folder must not grow for ever."""

_HEAD = "Report of an internal error of kvtop. It holds places in program code only: no values, options or environment."
_written: dict[str, Path | None] = {}


def state_directory(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/kvtop`, else `~/.local/state/kvtop`."""
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path(environ.get("HOME", "~")).expanduser() / ".local/state") / "kvtop"


def write_report(error: BaseException, doing: str = "") -> tuple[Fault, Path | None]:
    """Describe an exception and write its report once; the path is None where no folder of ours takes it.

    `doing` is what kvtop did, in words of the program: never a text from outside.
    """
    fault = fault_of(error)
    # By its places only: what the interpreter says may hold a number that is another one every time.
    digest = hashlib.sha256("\n".join((fault.kind, *fault.places)).encode()).hexdigest()[:12]
    if digest not in _written:
        _written[digest] = _write(fault, f"fault-{digest}.txt", doing)
    return fault, _written[digest]


def contained(source: str, error: BaseException, doing: str) -> Failure:
    """As `kvtop.domain.answers.fault.failure_of`, with a report."""
    _, path = write_report(error, doing)
    kept = f"the report {path} can be sent to its authors" if path is not None else "no report could be written"
    return failure_of(source, error, doing, kept)


def _write(fault: Fault, name: str, doing: str) -> Path | None:
    text = "\n".join(
        (
            _HEAD,
            f"kvtop {__version__}, Python {platform.python_version()}, {sys.platform} {platform.machine()}",
            *((f"while: {doing}",) if doing else ()),
            "",
            fault.text,
            "",
        )
    )
    for folder in (_reports_folder, _temporary_folder):
        try:
            path = folder() / name
            _put(path, text.encode("utf-8", "replace"))
        except (OSError, RuntimeError):
            continue
        _forget_oldest(path.parent)
        return path
    return None


def _reports_folder() -> Path:
    """Raises OSError for a folder that is not ours alone, RuntimeError for a home that is unknown."""
    folder = state_directory(os.environ) / "faults"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder


def _temporary_folder() -> Path:
    return private_directory(os.environ)


def _put(path: Path, content: bytes) -> None:
    """A file that only its owner may read, from its first byte on."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(content)


def _forget_oldest(folder: Path) -> None:
    with suppress(OSError):
        reports = sorted(folder.glob("fault-*.txt"), key=lambda it: it.stat().st_mtime, reverse=True)
        for report in reports[REPORTS_KEPT:]:
            report.unlink()
