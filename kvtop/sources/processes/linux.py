"""Processes as Linux shows them in /proc, other users' as far as they may be read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kvtop.domain.process import Process
from kvtop.sources.processes.containers import container_of
from kvtop.sources.processes.found_process import FoundProcess, Recognises
from kvtop.sources.processes.listeners import Tables, listeners_of
from kvtop.sources.processes.network_namespace import addresses_of, shares_network
from kvtop.sources.processes.process_facts import (
    Stat,
    argv_of,
    boot_time,
    link,
    read_stat,
    resident_bytes,
    uid_of,
    user_name,
)
from kvtop.sources.redaction.redact import allowed_environment, clean, masked_argv

DESCRIPTORS_NOTE = "descriptors: permission denied"
_DELETED = " (deleted)"


class LinuxReader:
    """Reads `proc`; one look at a time."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._booted_at: float | None = None
        self._tables: Tables = {}

    def stats(self) -> Iterator[tuple[int, Stat]]:
        """Every process now. Raises OSError where there is no /proc."""
        self._tables = {}
        if self._booted_at is None:
            self._booted_at = boot_time(self._proc)
        for name in [path.name for path in self._proc.iterdir()]:
            stat = read_stat(self._proc / name) if name.isdigit() else None
            if stat is not None:
                yield int(name), stat

    def first_look(self, pid: int, stat: Stat, recognises: Recognises) -> FoundProcess | None:
        """What does not change of a process, if it is recognised."""
        home = self._proc / str(pid)
        argv = argv_of(home)
        if not argv or not recognises(stat.name, argv):
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

    def again(self, process: Process, *, with_ports: bool) -> Process:
        """The same with its memory and, if wanted, its ports."""
        home = self._proc / str(process.pid)
        process = replace(process, rss_bytes=resident_bytes(home))
        if not with_ports:
            return process
        listening = listeners_of(process.pid, self._proc, uid=uid_of(home), tables=self._tables)
        others = tuple(text for text in process.unreadable if text != DESCRIPTORS_NOTE)
        return replace(
            process,
            listeners=listening.listeners,
            listeners_certain=listening.is_certain,
            unreadable=others if listening.is_certain else (*others, DESCRIPTORS_NOTE),
            addresses=addresses_of(process.pid, self._proc) if process.shares_network is False else (),
        )

    def child(self, pid: int, stat: Stat, known: Process | None) -> Process:
        """A process that belongs to a server."""
        home = self._proc / str(pid)
        if known is None:
            name, argv = clean(stat.name), masked_argv(argv_of(home))
            known = Process(pid=pid, ppid=stat.ppid, name=name, argv=argv, user=user_name(home))
        return replace(known, ppid=stat.ppid, rss_bytes=resident_bytes(home))


def _environ(home: Path, unreadable: list[str]) -> dict[str, str] | None:
    try:
        raw = (home / "environ").read_bytes()
    except OSError as error:
        unreadable.append(f"environ: {(error.strerror or 'unreadable').lower()}")
        return None
    pairs = (entry.decode("utf-8", "surrogateescape").partition("=") for entry in raw.split(b"\0") if b"=" in entry)
    return {name: value for name, _, value in pairs}
