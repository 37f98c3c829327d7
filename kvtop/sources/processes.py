"""Processes of this machine that an engine recognises, and their children. Linux through /proc, no root needed.

Everything leaves here masked: see `redaction`.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kvtop.domain.process import Process
from kvtop.sources.listeners import listeners_of
from kvtop.sources.redaction import allowed_environment, clean, masked_argv

LISTENER_SECONDS = 5.0
"""Ports change at start-up only; looking costs a walk of all descriptors."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A recognised process. `argv` is unmasked and stays in `sources`: options and model paths are read from it."""

    process: Process
    argv: tuple[str, ...]
    environ: dict[str, str]


@dataclass(slots=True)
class _Known:
    found: FoundProcess | None
    listened_at: float


class ProcessTable:
    """The processes of the last look, so that a tick reads only what can have changed."""

    def __init__(self, recognises: Callable[[str, tuple[str, ...]], bool], proc: Path = Path("/proc")) -> None:
        self._recognises = recognises
        self._proc = proc
        self._known: dict[tuple[int, str], _Known] = {}

    def look(self) -> tuple[FoundProcess, ...]:
        """Every recognised process now, by pid. Processes that vanish meanwhile are left out."""
        now = time.monotonic()
        seen: dict[tuple[int, str], _Known] = {}
        for name in (path.name for path in self._proc.iterdir()):
            if not name.isdigit():
                continue
            pid = int(name)
            started = _started(self._proc / name)
            if started is None:
                continue
            key = (pid, started)
            known = self._known.get(key)
            if known is None:
                known = _Known(self._first_look(pid), now - LISTENER_SECONDS)
            if known.found is not None:
                known = self._again(known, now)
            seen[key] = known
        self._known = seen
        return tuple(known.found for _, known in sorted(seen.items()) if known.found is not None)

    def _first_look(self, pid: int) -> FoundProcess | None:
        home = self._proc / str(pid)
        try:
            raw = (home / "cmdline").read_bytes()
            comm = (home / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None
        argv = tuple(word.decode("utf-8", "surrogateescape") for word in raw.rstrip(b"\0").split(b"\0"))
        if not raw or not self._recognises(comm, argv):
            return None
        unreadable: list[str] = []
        environ = self._environ(home, unreadable)
        executable = _link(home / "exe", unreadable)
        cwd = _link(home / "cwd", unreadable)
        process = Process(
            pid=pid,
            ppid=_parent(home),
            name=clean(comm),
            argv=masked_argv(argv),
            executable=None if executable is None else clean(executable),
            cwd=cwd,
            environ=None if environ is None else allowed_environment(environ),
            user=_user(home),
            unreadable=tuple(unreadable),
        )
        return FoundProcess(process, argv, environ or {})

    def _environ(self, home: Path, unreadable: list[str]) -> dict[str, str] | None:
        try:
            raw = (home / "environ").read_bytes()
        except OSError as error:
            unreadable.append(f"environ: {(error.strerror or 'unreadable').lower()}")
            return None
        pairs = (entry.decode("utf-8", "surrogateescape").partition("=") for entry in raw.split(b"\0") if b"=" in entry)
        return {name: value for name, _, value in pairs}

    def _again(self, known: _Known, now: float) -> _Known:
        """Memory every time, ports now and then."""
        found = known.found
        if found is None:
            return known
        process = replace(found.process, rss_bytes=_resident_bytes(self._proc / str(found.process.pid)))
        listened_at = known.listened_at
        if now - listened_at >= LISTENER_SECONDS or not process.listeners:
            listened_at = now
            ports = listeners_of(process.pid, self._proc)
            note = "descriptors: permission denied"
            others = tuple(text for text in process.unreadable if text != note)
            process = replace(
                process, listeners=ports or (), unreadable=others if ports is not None else (*others, note)
            )
        return _Known(replace(found, process=process), listened_at)


def _started(home: Path) -> str | None:
    """Start time in clock ticks: with the pid it names a process for good, since pids are used again."""
    try:
        stat = (home / "stat").read_bytes()
    except OSError:
        return None
    return stat[stat.rfind(b")") + 2 :].split()[19].decode("ascii")


def _parent(home: Path) -> int | None:
    try:
        stat = (home / "stat").read_bytes()
    except OSError:
        return None
    return int(stat[stat.rfind(b")") + 2 :].split()[1])


def _resident_bytes(home: Path) -> int | None:
    try:
        return int((home / "statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None


def _link(path: Path, unreadable: list[str]) -> str | None:
    try:
        return str(path.readlink())
    except OSError as error:
        unreadable.append(f"{path.name}: {(error.strerror or 'unreadable').lower()}")
        return None


def own_user() -> str:
    """The user that kvtop runs as."""
    return _name_of(os.getuid())


def _user(home: Path) -> str | None:
    try:
        return _name_of(home.stat().st_uid)
    except OSError:
        return None


def _name_of(uid: int) -> str:
    import pwd  # noqa: PLC0415  POSIX only

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
