"""Logs of llama.cpp servers that lie in a file: read seldom, bounded, and only for the sizes of buffers."""

import contextlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kvtop.domain.engine_report import MemoryReport
from kvtop.domain.model_file import ModelFileError
from kvtop.domain.sample import Failure
from kvtop.io.fault_reports import contained
from kvtop.sources.engines.llamacpp_log import memory_reports
from kvtop.sources.model_files.process_filesystem import ModelNotFoundError, ProcessFilesystem
from kvtop.sources.model_files.regular_file import open_regular
from kvtop.sources.processes.discovery import FoundProcess

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
    reports: tuple[MemoryReport, ...] = ()
    failure: Failure | None = None


class ServerLogs:
    """Remembers what each process said when it loaded. Reads files, which may hang: call from a thread."""

    def __init__(self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._known: dict[int, _KnownLog] = {}

    def look(self, found: tuple[FoundProcess, ...]) -> dict[int, tuple[MemoryReport, ...]]:
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
        answer = _KnownLog(found.process.started_at, self._clock(), size_before)
        for path, appends in self._paths(found):
            try:
                with open_regular(path) as (file, size_bytes):
                    if size_bytes == size_before or (appends and size_bytes > READ_BYTES):
                        # Nothing new; or several runs in one file, of which the beginning is an older one's.
                        continue
                    answer.size_bytes = size_bytes
                    text = _head(file.read, READ_BYTES).decode("utf-8", "replace")
            except ModelFileError:  # not ours to read, or gone: most servers have no log file at all
                continue
            answer.reports = memory_reports(text.splitlines())
            if answer.reports:
                break
        return answer

    def _paths(self, found: FoundProcess) -> list[tuple[str, bool]]:
        """Files that may be its log, and whether it appends to them: the one it was told, or where its output goes."""
        home = self._proc / str(found.process.pid)
        named = _option(found.argv) or found.environ.get(_LOG_FILE_VARIABLE)
        paths = []
        if named:
            filesystem = ProcessFilesystem(root=f"{home}/root", cwd=found.process.cwd)
            # A link may lead nowhere: its output may still be a file.
            with contextlib.suppress(ModelNotFoundError, OSError):
                paths.append((filesystem.ours(filesystem.absolute(named)), False))
        for number in (2, 1):
            path = home / "fd" / str(number)
            try:
                if stat.S_ISREG(path.stat().st_mode):
                    paths.append((str(path), _appends(home / "fdinfo" / str(number))))
            except OSError:
                continue
        return paths


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
