"""Logs of llama.cpp servers that lie in a file: read seldom, bounded, and only for the sizes of buffers."""

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kvtop.domain.engine_report import RankReport
from kvtop.domain.model_file import ModelFileError
from kvtop.domain.sample import Failure
from kvtop.io.fault_reports import contained
from kvtop.sources.engines.llamacpp_log import memory_reports
from kvtop.sources.model_files.process_filesystem import ModelNotFoundError, ProcessFilesystem
from kvtop.sources.model_files.regular_file import open_regular
from kvtop.sources.processes.discovery import FoundProcess
from kvtop.sources.rights.reading import in_time, read_as

READ_BYTES = 2 << 20
"""Loading is told in far less, at the beginning of a log."""
LOOK_SECONDS = 20.0
"""How often a log that has not said it yet is looked at again."""

_LOG_FILE_OPTION, _LOG_FILE_VARIABLE = "--log-file", "LLAMA_LOG_FILE"


@dataclass(slots=True)
class _KnownLog:
    """What one process has said; `size_bytes` is how long its log was then."""

    started_at: float | None
    looked_at: float
    size_bytes: int = -1
    reports: tuple[RankReport, ...] = ()
    failure: Failure | None = None


class ServerLogs:
    """Remembers what each process said when it loaded. Reads files, which may hang: call from a thread."""

    def __init__(self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._known: dict[int, _KnownLog] = {}

    def look(self, found: tuple[FoundProcess, ...]) -> dict[int, tuple[RankReport, ...]]:
        """Reports by pid of these processes, of those that have any."""
        known = {}
        for it in found:
            pid, started_at = it.process.pid, it.process.started_at
            before = self._known.get(pid)
            if before is None or before.started_at != started_at:
                before = _KnownLog(started_at, self._clock() - LOOK_SECONDS)
            if not before.reports and self._clock() - before.looked_at >= LOOK_SECONDS:
                try:
                    before = self._read(it, before.size_bytes)
                except Exception as error:  # noqa: BLE001  one log must not take the other servers along
                    failure = contained(f"pid {pid} log", error, "reading its memory figures")
                    before = replace(before, looked_at=self._clock(), failure=failure)
            known[pid] = before
        self._known = known
        return {pid: it.reports for pid, it in known.items() if it.reports}

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Logs of the last look over which kvtop itself stumbled."""
        return tuple(it.failure for it in self._known.values() if it.failure is not None)

    def _read(self, found: FoundProcess, size_before: int) -> _KnownLog:
        """The log that it was told to write, opened with its own rights, or else the file that its output goes to.

        That one is open in the server already, and may be its starter's: systemd's, or a shell's of root.
        """
        pid = found.process.pid
        answer = _KnownLog(found.process.started_at, self._clock(), size_before)
        reads: list[Callable[[], list[tuple[int, str]]]] = [
            lambda: in_time(pid, "output", lambda: self._output(found, size_before))
        ]
        named = _option(found.argv) or found.environ.get(_LOG_FILE_VARIABLE)
        if named:
            reads.insert(0, lambda: read_as(pid, "log", lambda: self._named_log(found, named), self._proc))
        for read in reads:
            try:
                heads = read()
            except OSError:  # not its to read, or gone, or silent: most servers have no log file at all
                continue
            for size_bytes, text in heads:
                if size_bytes == size_before:
                    continue
                answer.size_bytes = size_bytes
                answer.reports = memory_reports(text.splitlines())
                if answer.reports:
                    return answer
        return answer

    def _named_log(self, found: FoundProcess, named: str) -> list[tuple[int, str]]:
        filesystem = ProcessFilesystem(root=f"{self._proc / str(found.process.pid)}/root", cwd=found.process.cwd)
        try:
            return [_size_and_head(filesystem.ours(filesystem.absolute(named)))]
        except (ModelNotFoundError, ModelFileError, OSError):  # its output may still be a file
            return []

    def _output(self, found: FoundProcess, size_before: int) -> list[tuple[int, str]]:
        home = self._proc / str(found.process.pid)
        heads = []
        for number in (2, 1):
            path = home / "fd" / str(number)
            try:
                status = path.stat()
                if not stat.S_ISREG(status.st_mode) or status.st_size == size_before:
                    continue
                if status.st_size > READ_BYTES and _appends(home / "fdinfo" / str(number)):
                    continue  # several runs in one file, of which the beginning is an older one's
                heads.append(_size_and_head(str(path)))
            except (ModelFileError, OSError):
                continue
        return heads


def _size_and_head(path: str) -> tuple[int, str]:
    with open_regular(path) as (file, size_bytes):
        return size_bytes, _head(file.read, READ_BYTES).decode("utf-8", "replace")


def _option(argv: tuple[str, ...]) -> str | None:
    for index, word in enumerate(argv):
        if word == _LOG_FILE_OPTION and index + 1 < len(argv):
            return argv[index + 1]
        if word.startswith(f"{_LOG_FILE_OPTION}="):
            return word.partition("=")[2]
    return None


def _appends(path: Path) -> bool:
    """Whether a descriptor was opened to append (`flags` of /proc/PID/fdinfo/N, in octal)."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("flags:"):
            return bool(int(line.partition(":")[2], 8) & os.O_APPEND)
    return False


def _head(read: Callable[[int], bytes | None], limit: int) -> bytes:
    """Up to `limit` bytes of an unbuffered file, which may answer with less than was asked for."""
    parts, left = [], limit
    while left > 0 and (part := read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
