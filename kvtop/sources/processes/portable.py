"""Processes where there is no /proc (macOS), through psutil: this user's in full, others' by name only.

Containers and network namespaces are Linux's: everything here is on the host itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import psutil

from kvtop.domain.process import Listener, Process
from kvtop.sources.processes.found_process import FoundProcess, Recognises
from kvtop.sources.processes.process_facts import Stat
from kvtop.sources.redaction.redact import allowed_environment, clean, masked_argv

_PORTS_NOTE = "ports: permission denied"
T = TypeVar("T")


class PortableReader:
    """Reads what the system tells this user."""

    def stats(self) -> Iterator[tuple[int, Stat]]:
        """Every process now. The start is in seconds: it only has to tell two owners of a pid apart."""
        for process in psutil.process_iter(["ppid", "name", "create_time"]):
            facts = process.info
            if facts["create_time"] is not None:
                yield process.pid, Stat(facts["name"] or "?", facts["ppid"] or 0, repr(facts["create_time"]))

    def first_look(self, pid: int, stat: Stat, recognises: Recognises) -> FoundProcess | None:
        """What does not change of a process, if it is recognised."""
        process = _process(pid)
        argv = tuple(_or_none(process.cmdline, "argv", []) or ()) if process is not None else ()
        if process is None or not argv or not recognises(stat.name, argv):
            return None
        unreadable: list[str] = []
        environ = _or_none(process.environ, "environ", unreadable)
        executable = _or_none(process.exe, "exe", unreadable)
        found = Process(
            pid=pid,
            ppid=stat.ppid,
            name=clean(stat.name),
            argv=masked_argv(argv),
            executable=clean(executable) if executable else None,
            cwd=_or_none(process.cwd, "cwd", unreadable) or None,
            environ=None if environ is None else allowed_environment(environ),
            user=_or_none(process.username, "user", unreadable),
            started_at=float(stat.started_ticks),
            shares_network=True,
            unreadable=tuple(unreadable),
        )
        return FoundProcess(found, argv, environ or {})

    def again(self, process: Process, *, with_ports: bool) -> Process:
        """The same with its memory and, if wanted, its ports."""
        alive = _process(process.pid)
        if alive is None:
            return process
        memory = _or_none(alive.memory_info, "memory", [])
        process = replace(process, rss_bytes=None if memory is None else memory.rss)
        if not with_ports:
            return process
        denied: list[str] = []
        rows = _or_none(lambda: alive.net_connections("tcp"), "ports", denied)
        found = {Listener(it.laddr.ip, it.laddr.port) for it in rows or () if it.status == psutil.CONN_LISTEN}
        others = tuple(text for text in process.unreadable if text != _PORTS_NOTE)
        return replace(
            process,
            listeners=tuple(sorted(found, key=lambda it: (it.port, it.address))),
            listeners_certain=rows is not None,
            unreadable=others if rows is not None else (*others, _PORTS_NOTE),
        )

    def child(self, pid: int, stat: Stat, known: Process | None) -> Process:
        """A process that belongs to a server."""
        alive = _process(pid)
        if known is None:
            argv = None if alive is None else _or_none(alive.cmdline, "argv", [])
            user = None if alive is None else _or_none(alive.username, "user", [])
            known = Process(pid, stat.ppid, clean(stat.name), masked_argv(argv or ()), user=user)
        memory = None if alive is None else _or_none(alive.memory_info, "memory", [])
        return replace(known, ppid=stat.ppid, rss_bytes=None if memory is None else memory.rss)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _or_none(ask: Callable[[], T], what: str, unreadable: list[str]) -> T | None:
    """The answer; None where the system refuses or the process is gone, and `unreadable` says which."""
    try:
        return ask()
    except psutil.AccessDenied:
        unreadable.append(f"{what}: permission denied")
    except (psutil.Error, OSError) as error:
        unreadable.append(f"{what}: {str(error).lower()[:80]}")
    return None
