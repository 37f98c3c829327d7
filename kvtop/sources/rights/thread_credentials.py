"""Another user's rights for one thread, as file servers take them (Linux setfsuid(2)); the rest of kvtop keeps its own.

Only the system calls themselves concern one thread: the C library's setgroups changes all of them.
"""

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvtop.sources.rights.credentials import Credentials

_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "loongarch64": 159, "ppc64le": 81, "s390x": 206}
"""The system call's number by machine (Linux arch/*/entry/syscalls)."""
_SWITCHING = 1 << 6 | 1 << 7
"""CAP_SETGID and CAP_SETUID (Linux include/uapi/linux/capability.h)."""
_READING_ALL = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, which setfsuid takes from root."""
_UNCHANGED = 0xFFFFFFFF
"""No user has this number: asking for it changes nothing and returns the present one."""


def can_switch() -> bool:
    """Whether this process may take another user's rights: root that may, on a machine whose system calls are known.

    Root of a container may lack the capabilities, and one of a user namespace may be denied setgroups(2).
    """
    if sys.platform != "linux" or platform.machine() not in _SETGROUPS or os.geteuid() != 0:
        return False
    try:
        is_denied = Path("/proc/self/setgroups").read_bytes().strip() == b"deny"
    except OSError:
        is_denied = False
    return not is_denied and _capabilities() & _SWITCHING == _SWITCHING


def _capabilities() -> int:
    """The effective ones of this thread; 0 where they cannot be read."""
    try:
        status = Path("/proc/thread-self/status").read_bytes()
        return int(status.partition(b"CapEff:")[2].split()[0], 16)
    except (OSError, IndexError, ValueError):
        return 0


@contextmanager
def switched_to(wanted: Credentials) -> Iterator[None]:
    """This thread opens files as `wanted`. PermissionError where the kernel refuses: then nothing has changed."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.getgroups()
    uid, gid = os.geteuid(), os.getegid()
    try:
        _set_groups(libc, wanted.groups)
        _set(libc.setfsgid, wanted.gid)
        # Last: with another user than root the rights to read everything are gone, and only root gets them back.
        _set(libc.setfsuid, wanted.uid)
        if _capabilities() & _READING_ALL:  # SECBIT_NO_SETUID_FIXUP
            raise PermissionError(errno.EPERM, "this process keeps the right to read everything")
        yield
    finally:
        _set(libc.setfsuid, uid)
        _set(libc.setfsgid, gid)
        _set_groups(libc, before)


def _set(call: "ctypes._NamedFuncPointer", number: int) -> None:
    """setfsuid and setfsgid report no failure: whether it worked is seen by asking again."""
    call(ctypes.c_uint(number))
    if call(ctypes.c_uint(_UNCHANGED)) & _UNCHANGED != number:
        raise PermissionError(errno.EPERM, f"the kernel gives no rights of user or group {number}")


def _set_groups(libc: ctypes.CDLL, groups: "tuple[int, ...] | list[int]") -> None:
    numbers = (ctypes.c_uint * len(groups))(*groups)
    if libc.syscall(ctypes.c_long(_SETGROUPS[platform.machine()]), ctypes.c_long(len(groups)), numbers) != 0:
        raise PermissionError(ctypes.get_errno(), "the kernel gives no groups of another user")
