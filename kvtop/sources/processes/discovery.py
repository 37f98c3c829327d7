"""Processes of this machine that an engine recognises, and their children; no root needed.

Linux is read through /proc (`linux`), other systems through psutil (`portable`). Everything leaves
here masked: see `redact`.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kvtop.domain.process import Process
from kvtop.domain.sample import Failure
from kvtop.io.fault_reports import contained
from kvtop.sources.processes.found_process import FoundProcess, ProcessReader, Recognises
from kvtop.sources.processes.linux import LinuxReader
from kvtop.sources.processes.process_facts import Stat, name_of_user

__all__ = ["FoundProcess", "ProcessTable", "own_user"]

LISTENER_SECONDS = 5.0
"""Ports change at start-up only; looking costs a walk of all descriptors."""
STARTING_SECONDS = 120.0
"""How long a server without a port is looked at every time: it may be about to listen."""
SETTLING_SECONDS = 5.0
"""How long a process that nobody recognises is looked at again: it may yet become a server (fork, then exec)."""


@dataclass(slots=True)
class _KnownProcess:
    """What is remembered of a process, server or not; `child` is filled once it belongs to a server."""

    stat: Stat
    seen_at: float
    found: FoundProcess | None = None
    child: Process | None = None
    listened_at: float = float("-inf")
    failure: Failure | None = None


class ProcessTable:
    """The processes of the last look, so that a tick reads only what can have changed."""

    def __init__(
        self, recognises: Recognises, proc: Path = Path("/proc"), *, reader: ProcessReader | None = None
    ) -> None:
        self._recognises = recognises
        self._reader = reader or _reader_of(proc)
        self._known: dict[tuple[int, str, str], _KnownProcess] = {}

    def look(self) -> tuple[FoundProcess, ...]:
        """Every recognised process now, by pid, with its children. Processes that vanish meanwhile are left out."""
        now = time.monotonic()
        seen: dict[tuple[int, str, str], _KnownProcess] = {}
        for pid, stat in self._reader.stats():
            # With its start the pid names a process for good; the name changes when it executes another program.
            key = (pid, stat.started_ticks, stat.name)
            known = self._known.get(key) or _KnownProcess(stat, now)
            known.stat = stat
            try:
                if known.found is None and now - known.seen_at <= SETTLING_SECONDS:
                    known.found = self._reader.first_look(pid, stat, self._recognises)
                if known.found is not None:
                    known.found = self._again(known, known.found, now)
            except Exception as error:  # noqa: BLE001  one process must not take the others along
                known.failure = contained(_named(pid, error), error, "reading a process")
            seen[key] = known
        self._known = seen
        return self._with_children({key[0]: known for key, known in seen.items()})

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Processes of the last look over which kvtop itself stumbled."""
        return tuple(it.failure for it in self._known.values() if it.failure is not None)

    def _again(self, known: _KnownProcess, found: FoundProcess, now: float) -> FoundProcess:
        """Memory every time, ports now and then."""
        is_starting = not found.process.listeners and now - known.seen_at < STARTING_SECONDS
        with_ports = is_starting or now - known.listened_at >= LISTENER_SECONDS
        if with_ports:
            known.listened_at = now
        return replace(found, process=self._reader.again(found.process, with_ports=with_ports))

    def _with_children(self, known: Mapping[int, _KnownProcess]) -> tuple[FoundProcess, ...]:
        """Servers by pid. Each other process below one belongs to the nearest server above it."""
        servers = {pid: it.found for pid, it in known.items() if it.found is not None and not _is_fork(it, known)}
        below: dict[int, list[Process]] = {pid: [] for pid in servers}
        if servers:
            for pid in sorted(known):
                owner = None if pid in servers else _server_above(pid, servers, known)
                if owner is not None:
                    it = known[pid]
                    try:
                        it.child = self._reader.child(pid, it.stat, it.child)
                    except Exception as error:  # noqa: BLE001  as above
                        it.failure = contained(_named(pid, error), error, "reading a process")
                    else:
                        below[owner].append(it.child)
        return tuple(_complete(found, below[pid]) for pid, found in sorted(servers.items()))


def _named(pid: int, error: Exception) -> str:
    """The process, and the engines whose recognisers were at fault."""
    return " ".join((f"pid {pid}", *getattr(error, "__notes__", ())))


def _complete(found: FoundProcess, children: list[Process]) -> FoundProcess:
    process = replace(found.process, children=tuple(child.pid for child in children))
    return replace(found, process=process, children=tuple(children))


def _is_fork(known: _KnownProcess, all_known: Mapping[int, _KnownProcess]) -> bool:
    """Whether a process is a copy of the server above it: its command line, and no port of its own (workers)."""
    above = all_known.get(known.stat.ppid)
    if known.found is None or above is None or above.found is None:
        return False
    ports = {it.port for it in known.found.process.listeners}
    shared = {it.port for it in above.found.process.listeners}
    return known.found.argv == above.found.argv and ports <= shared


def _server_above(pid: int, servers: Mapping[int, object], known: Mapping[int, _KnownProcess]) -> int | None:
    passed = {pid}
    while pid in known:
        pid = known[pid].stat.ppid
        if pid in servers:
            return pid
        if pid in passed:
            return None  # ppids read at different moments could form a ring
        passed.add(pid)
    return None


def _reader_of(proc: Path) -> ProcessReader:
    if (proc / "self" / "stat").exists() or proc != Path("/proc"):
        return LinuxReader(proc)
    from kvtop.sources.processes.portable import PortableReader  # noqa: PLC0415  psutil, only where there is no /proc

    return PortableReader()


def own_user() -> str:
    """The user that kvtop runs as."""
    return name_of_user(os.getuid())
