"""Single facts of a process out of its directory in /proc; each is None where it cannot be read."""

import os
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stat:
    """What every tick needs of /proc/PID/stat. `name` is at most 15 bytes long; `started_ticks` is since boot."""

    name: str
    ppid: int
    started_ticks: str

    def started_at(self, booted_at: float) -> float:
        """Unix time in seconds."""
        return booted_at + int(self.started_ticks) / _TICKS_PER_SECOND


def read_stat(home: Path) -> Stat | None:
    """Name, parent and start. The name may hold anything, brackets too, so fields are counted from the last one."""
    try:
        stat = (home / "stat").read_bytes()
    except OSError:
        return None
    end = stat.rfind(b")")
    fields = stat[end + 2 :].split()
    name = stat[stat.find(b"(") + 1 : end].decode("utf-8", "replace")
    return Stat(name, int(fields[1]), fields[19].decode("ascii")) if len(fields) > 19 else None


def argv_of(home: Path) -> tuple[str, ...]:
    """The command line, secrets and all; empty for kernel threads, the dead, and what is closed to us."""
    try:
        raw = (home / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(word.decode("utf-8", "surrogateescape") for word in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def boot_time(proc: Path) -> float | None:
    """When the machine started, Unix time in seconds."""
    try:
        lines = (proc / "stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), None)


def resident_bytes(home: Path) -> int | None:
    """The resident set."""
    try:
        return int((home / "statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None


def link(path: Path, unreadable: list[str]) -> str | None:
    """Where a link of /proc points; the reason why it cannot be read is added to `unreadable`."""
    try:
        return str(path.readlink())
    except OSError as error:
        unreadable.append(f"{path.name}: {(error.strerror or 'unreadable').lower()}")
        return None


def uid_of(home: Path) -> int | None:
    """The user's number."""
    try:
        return home.stat().st_uid
    except OSError:
        return None


def user_name(home: Path) -> str | None:
    """The user's name, or the number of one without a name here."""
    uid = uid_of(home)
    return None if uid is None else name_of_user(uid)


def name_of_user(uid: int) -> str:
    """The name of a user of this machine, or the number of one without a name here."""
    import pwd  # noqa: PLC0415  POSIX only

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
