"""Configuration files of running servers, as the servers see them, read when a server is first seen."""

import os
from dataclasses import dataclass
from pathlib import Path

from kvtop.domain.sample import Failure
from kvtop.sources.endpoints.engine import Engine
from kvtop.sources.model_files.process_filesystem import ModelNotFoundError, ProcessFilesystem
from kvtop.sources.model_files.regular_file import open_descriptor
from kvtop.sources.processes.found_process import FoundProcess
from kvtop.sources.redaction.redact import clean
from kvtop.sources.rights.permission_bits import CLOSED, CLOSED_REMEDY, is_restricted
from kvtop.sources.rights.reading import read_as

CONFIG_FILE_BYTES = 1 << 20
"""More than any configuration of a server; a longer file is as good as unreadable."""
_MORE_RIGHTS = "run kvtop as the server's user or as root"
_CHANGE_SECONDS = 2.0
"""Clocks of file systems and of processes are not the same one."""


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """`texts` are (path, text) of those that exist, by the server's own paths; `failures` is what is not certain."""

    texts: tuple[tuple[str, str], ...] = ()
    failures: tuple[Failure, ...] = ()


def config_files(found: FoundProcess, engine: Engine) -> ConfigFiles:
    """What a server's options stand in beside its command line, opened with the server's own rights, within a time.

    A file that is named on the command line is there; those of the default places mostly are not.
    """
    texts, failures = [], []
    source = f"pid {found.process.pid} configuration"
    paths = engine.config_files(found.argv, found.environ)
    try:
        read = read_as(found.process.pid, "configuration", lambda: [_tried(path, found) for path in paths])
    except OSError as error:  # its rights cannot be told, or a file does not answer
        read = [error for _ in paths]
    for path, outcome in zip(paths, read, strict=True):
        if isinstance(outcome, Exception):
            reason = _reason(outcome)
            is_nothing = isinstance(outcome, FileNotFoundError | NotADirectoryError) or reason == CLOSED
            if not is_nothing or _is_named(path, found.argv):
                message = f"{clean(path)}: {reason}: the options in it are unknown"
                failures.append(Failure(source, message, CLOSED_REMEDY if reason == CLOSED else _MORE_RIGHTS))
            continue
        text, changed_at = outcome
        texts.append((path, text))
        started_at = found.process.started_at
        if started_at is not None and changed_at > started_at + _CHANGE_SECONDS:
            message = f"{clean(path)} changed since the server started: its options are taken from what is there now"
            failures.append(Failure(source, message, "restart the server to be sure that it has these options"))
    return ConfigFiles(tuple(texts), tuple(failures))


def _tried(path: str, found: FoundProcess) -> tuple[str, float] | OSError | UnicodeDecodeError | ModelNotFoundError:
    try:
        return _text(path, found)
    except (OSError, UnicodeDecodeError, ModelNotFoundError) as error:
        return error


def _text(path: str, found: FoundProcess) -> tuple[str, float]:
    """The text and when it last changed. As the server sees it; the same path here only where its root is closed to us.

    Not for a container: this machine's /etc/llama.cpp/config.ini is not the container's.
    """
    root = Path(f"/proc/{found.process.pid}/root")
    theirs = ProcessFilesystem(root=str(root), cwd=found.process.cwd)
    try:
        return _read(theirs.ours(theirs.absolute(path)))
    except OSError as error:
        if found.process.container is not None or not _is_closed(root):
            raise _told(error) from error
    here = ProcessFilesystem(cwd=found.process.cwd)
    try:
        return _read(here.ours(here.absolute(path)))
    except OSError as error:
        raise _told(error) from error


def _is_closed(root: Path) -> bool:
    try:
        root.stat()
    except OSError:
        return True
    return False


def _told(error: OSError) -> OSError:
    """A refusal that root could not lift either is called one of the server's own user."""
    is_theirs = isinstance(error, PermissionError) and is_restricted()
    return PermissionError(error.errno, CLOSED) if is_theirs else error


def _read(path: str) -> tuple[str, float]:
    with os.fdopen(open_descriptor(path), "rb") as stream:
        raw = stream.read(CONFIG_FILE_BYTES + 1)
        changed_at = os.fstat(stream.fileno()).st_ctime
    if len(raw) > CONFIG_FILE_BYTES:
        raise OSError("too long")
    return raw.decode("utf-8"), changed_at


def _reason(error: OSError | UnicodeDecodeError | ModelNotFoundError) -> str:
    if isinstance(error, ModelNotFoundError):
        return error.reason
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return (error.strerror or str(error)).lower()


def _is_named(path: str, argv: tuple[str, ...]) -> bool:
    return any(word == path or word.endswith(f"={path}") for word in argv)
