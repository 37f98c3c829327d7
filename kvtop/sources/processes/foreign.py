"""Processes that a driver lists and no engine claimed: named where /proc knows them, and where it does not, why."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from kvtop.domain.device import Device
from kvtop.domain.process import GONE_OR_BEYOND, HIDDEN_FROM_US, Process
from kvtop.domain.sample import Failure
from kvtop.sources.processes.containers import container_of
from kvtop.sources.processes.process_facts import argv_of, read_stat, resident_bytes, user_name
from kvtop.sources.redaction.redact import clean, masked_stranger
from kvtop.text import bytes_text

NO_NAME = "?"

_SEE_ALL = "run kvtop as root, or as a member of the group that may see them (mount option gid=)"
_HIDING = re.compile(r"hidepid=(?!0|off)")

_FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""PROC_PID_INIT_INO (Linux include/linux/proc_ns.h): the link of every process that is in no container's namespace."""


def foreign_processes(
    devices: Iterable[Device], known: Collection[int], proc: Path = Path("/proc")
) -> tuple[Process, ...]:
    """A Process for each pid on a device that is not among `known`, by pid.

    One that /proc does not know has the name "?" and says why in `unreadable`.
    """
    pids = {row.pid for device in devices for row in device.processes or () if row.pid not in known}
    why = None
    found = []
    for pid in sorted(pids):
        process = _process(pid, proc)
        if process is None:
            why = why or why_unknown(proc)[0]
            process = Process(pid, None, NO_NAME, None, unreadable=(why,))
        found.append(process)
    return tuple(found)


def _process(pid: int, proc: Path) -> Process | None:
    home = proc / str(pid)
    stat = read_stat(home)
    if stat is None:
        return None
    return Process(
        pid=pid,
        ppid=stat.ppid,
        name=clean(stat.name),
        argv=masked_stranger(argv_of(home)),
        user=user_name(home),
        rss_bytes=resident_bytes(home),
        container=container_of(pid, proc),
    )


def why_unknown(proc: Path = Path("/proc")) -> tuple[str, str]:
    """Why a pid of the driver may be missing from /proc, and the one thing to do about it."""
    try:
        namespace = str((proc / "self/ns/pid").readlink())
    except OSError:
        namespace = ""
    if namespace and namespace != _FIRST_PID_NAMESPACE:
        return (
            "not in /proc: kvtop runs in a container, and the driver counts the host's processes",
            "run kvtop on the host, or start its container with the host's pids (docker run --pid=host)",
        )
    if _hides_processes(proc):
        return HIDDEN_FROM_US, _SEE_ALL
    return (
        GONE_OR_BEYOND,
        "nothing, if it is gone at the next look; otherwise run kvtop where that process lives",
    )


def _hides_processes(proc: Path) -> bool:
    """Whether /proc is mounted so that users see their own processes only (hidepid, Linux proc(5))."""
    try:
        mounts = (proc / "self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(" /proc " in line and _HIDING.search(line) is not None for line in mounts)


def hidden_processes(proc: Path = Path("/proc")) -> Failure | None:
    """Said where other users' processes are kept from kvtop: then an empty list of servers means little."""
    if not _hides_processes(proc):
        return None
    try:
        if (proc / "1/cmdline").read_bytes():
            return None  # root, or a member of the group that sees all
    except OSError:
        pass
    return Failure("processes", f"those of other users are {HIDDEN_FROM_US}", _SEE_ALL)


def foreign_failures(
    devices: Iterable[Device], processes: Iterable[Process], proc: Path = Path("/proc")
) -> tuple[Failure, ...]:
    """One Failure for each device with processes that nobody can name: how much they hold there, and why."""
    nameless = {process.pid for process in processes if process.name == NO_NAME and process.argv is None}
    failures = []
    for device in devices:
        rows = [row for row in device.processes or () if row.pid in nameless]
        if not rows:
            continue
        sizes = [row.used_bytes for row in rows if row.used_bytes is not None]
        held = f" hold {bytes_text(sum(sizes))} and" if len(sizes) == len(rows) else ""
        listed = ", ".join(str(row.pid) for row in rows[:4]) + (" …" if len(rows) > 4 else "")
        reason, remedy = why_unknown(proc)
        failures.append(Failure(f"{device.id} pid {listed}", f"processes of the driver{held} are {reason}", remedy))
    return tuple(failures)
