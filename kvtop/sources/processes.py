"""Processes of this machine that an engine recognises, and their children. Linux through /proc, no root needed.

Everything leaves here masked: see `redaction`.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kvtop.domain.process import Process
from kvtop.sources.containers import container_of
from kvtop.sources.listeners import Tables, listeners_of
from kvtop.sources.network_namespace import addresses_of, shares_network
from kvtop.sources.process_facts import Stat, argv_of, boot_time, link, read_stat, resident_bytes, uid_of, user_name
from kvtop.sources.redaction import allowed_environment, clean, masked_argv

LISTENER_SECONDS = 5.0
"""Ports change at start-up only; looking costs a walk of all descriptors."""
STARTING_SECONDS = 120.0
"""How long a server without a port is looked at every time: it may be about to listen."""
SETTLING_SECONDS = 5.0
"""How long a process that nobody recognises is looked at again: it may yet become a server (fork, then exec)."""

DESCRIPTORS_NOTE = "descriptors: permission denied"
_DELETED = " (deleted)"

Recognises = Callable[[str, tuple[str, ...]], bool]


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A recognised process. `argv` and `environ` are unmasked and stay in `sources`: options and paths are read there.

    `environ` is empty where it could not be read; `process.environ` is None then. `children` are its descendants that
    are no servers themselves, by pid: engine cores, workers, and forks of itself.
    """

    process: Process
    argv: tuple[str, ...]
    environ: dict[str, str]
    children: tuple[Process, ...] = ()

    @property
    def pids(self) -> tuple[int, ...]:
        """Its own pid and its children's."""
        return (self.process.pid, *(child.pid for child in self.children))


@dataclass(slots=True)
class _Known:
    """What is remembered of a process, server or not; `child` is filled once it belongs to a server."""

    stat: Stat
    seen_at: float
    found: FoundProcess | None = None
    child: Process | None = None
    listened_at: float = float("-inf")


class ProcessTable:
    """The processes of the last look, so that a tick reads only what can have changed."""

    def __init__(self, recognises: Recognises, proc: Path = Path("/proc")) -> None:
        self._recognises = recognises
        self._proc = proc
        self._known: dict[tuple[int, str, str], _Known] = {}
        self._booted_at: float | None = None

    def look(self) -> tuple[FoundProcess, ...]:
        """Every recognised process now, by pid, with its children. Processes that vanish meanwhile are left out."""
        now = time.monotonic()
        if self._booted_at is None:
            self._booted_at = boot_time(self._proc)
        seen: dict[tuple[int, str, str], _Known] = {}
        tables: Tables = {}
        for name in (path.name for path in self._proc.iterdir()):
            stat = read_stat(self._proc / name) if name.isdigit() else None
            if stat is None:
                continue
            # With its start the pid names a process for good; the name changes when it executes another program.
            key = (int(name), stat.started_ticks, stat.name)
            known = self._known.get(key) or _Known(stat, now)
            known.stat = stat
            if known.found is None and now - known.seen_at <= SETTLING_SECONDS:
                known.found = self._first_look(key[0], stat)
            if known.found is not None:
                self._again(known, known.found, now, tables)
            seen[key] = known
        self._known = seen
        return self._with_children({key[0]: known for key, known in seen.items()})

    def _first_look(self, pid: int, stat: Stat) -> FoundProcess | None:
        home = self._proc / str(pid)
        argv = argv_of(home)
        if not argv or not self._recognises(stat.name, argv):
            return None
        unreadable: list[str] = []
        notes: list[str] = []
        environ = _environ(home, unreadable)
        executable = link(home / "exe", unreadable)
        if executable is not None and executable.endswith(_DELETED):
            notes.append("its program was replaced or deleted since it started")
        shares = shares_network(pid, self._proc)
        process = Process(
            pid=pid,
            ppid=stat.ppid,
            name=clean(stat.name),
            argv=masked_argv(argv),
            executable=None if executable is None else clean(executable),
            cwd=link(home / "cwd", unreadable),
            environ=None if environ is None else allowed_environment(environ),
            user=user_name(home),
            started_at=None if self._booted_at is None else stat.started_at(self._booted_at),
            shares_network=shares,
            addresses=addresses_of(pid, self._proc) if shares is False else (),
            container=container_of(pid, self._proc),
            unreadable=tuple(unreadable),
            notes=tuple(notes),
        )
        return FoundProcess(process, argv, environ or {})

    def _again(self, known: _Known, found: FoundProcess, now: float, tables: Tables) -> None:
        """Memory every time, ports now and then."""
        home = self._proc / str(found.process.pid)
        process = replace(found.process, rss_bytes=resident_bytes(home))
        is_starting = not process.listeners and now - known.seen_at < STARTING_SECONDS
        if now - known.listened_at >= LISTENER_SECONDS or is_starting:
            known.listened_at = now
            listening = listeners_of(process.pid, self._proc, uid=uid_of(home), tables=tables)
            others = tuple(text for text in process.unreadable if text != DESCRIPTORS_NOTE)
            process = replace(
                process,
                listeners=listening.listeners,
                listeners_certain=listening.is_certain,
                unreadable=others if listening.is_certain else (*others, DESCRIPTORS_NOTE),
            )
            if process.shares_network is False:
                process = replace(process, addresses=addresses_of(process.pid, self._proc))
        known.found = replace(found, process=process)

    def _with_children(self, known: Mapping[int, _Known]) -> tuple[FoundProcess, ...]:
        """Servers by pid. Each other process below one belongs to the nearest server above it."""
        servers = {pid: it.found for pid, it in known.items() if it.found is not None and not _is_fork(it, known)}
        below: dict[int, list[Process]] = {pid: [] for pid in servers}
        if servers:
            for pid in sorted(known):
                owner = None if pid in servers else _server_above(pid, servers, known)
                if owner is not None:
                    below[owner].append(self._child(pid, known[pid]))
        return tuple(_complete(found, below[pid]) for pid, found in sorted(servers.items()))

    def _child(self, pid: int, known: _Known) -> Process:
        home = self._proc / str(pid)
        if known.child is None:
            known.child = Process(
                pid=pid,
                ppid=known.stat.ppid,
                name=clean(known.stat.name),
                argv=masked_argv(argv_of(home)),
                user=user_name(home),
            )
        known.child = replace(known.child, ppid=known.stat.ppid, rss_bytes=resident_bytes(home))
        return known.child


def _complete(found: FoundProcess, children: list[Process]) -> FoundProcess:
    process = replace(found.process, children=tuple(child.pid for child in children))
    return replace(found, process=process, children=tuple(children))


def _is_fork(known: _Known, all_known: Mapping[int, _Known]) -> bool:
    """Whether a process is a copy of the server above it: its command line, and no port of its own (workers)."""
    above = all_known.get(known.stat.ppid)
    if known.found is None or above is None or above.found is None:
        return False
    ports = {it.port for it in known.found.process.listeners}
    shared = {it.port for it in above.found.process.listeners}
    return known.found.argv == above.found.argv and ports <= shared


def _server_above(pid: int, servers: Mapping[int, object], known: Mapping[int, _Known]) -> int | None:
    passed = {pid}
    while pid in known:
        pid = known[pid].stat.ppid
        if pid in servers:
            return pid
        if pid in passed:
            return None  # ppids read at different moments could form a ring
        passed.add(pid)
    return None


def _environ(home: Path, unreadable: list[str]) -> dict[str, str] | None:
    try:
        raw = (home / "environ").read_bytes()
    except OSError as error:
        unreadable.append(f"environ: {(error.strerror or 'unreadable').lower()}")
        return None
    pairs = (entry.decode("utf-8", "surrogateescape").partition("=") for entry in raw.split(b"\0") if b"=" in entry)
    return {name: value for name, _, value in pairs}


def own_user() -> str:
    """The user that kvtop runs as."""
    return user_name(Path("/proc/self")) or str(os.getuid())
