"""Another user's rights for one thread, as file servers take them (Linux setfsuid(2)); the rest of kvtop keeps its own.

Only the system calls themselves concern one thread: the C library's setgroups changes all of them.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kvtop.sources.rights.credentials import Credentials

_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "loongarch64": 159, "ppc64le": 81, "s390x": 206}
"""The system call's number by machine (Linux arch/*/entry/syscalls)."""
_UNCHANGED = 0xFFFFFFFF
"""No user has this number: asking for it changes nothing and returns the present one."""


def can_switch() -> bool:
    """Whether this process may take another user's rights: root, on a machine whose system calls are known."""
    return sys.platform == "linux" and platform.machine() in _SETGROUPS and os.geteuid() == 0


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
        yield
    finally:
        _set(libc.setfsuid, uid)
        _set(libc.setfsgid, gid)
        _set_groups(libc, before)


def _set(call: "ctypes._NamedFuncPointer", number: int) -> None:
    """setfsuid and setfsgid report no failure: whether it worked is seen by asking again."""
    call(ctypes.c_uint(number))
    if call(ctypes.c_uint(_UNCHANGED)) & _UNCHANGED != number:
        raise PermissionError(1, f"the kernel gives no rights of user or group {number}")


def _set_groups(libc: ctypes.CDLL, groups: "tuple[int, ...] | list[int]") -> None:
    numbers = (ctypes.c_uint * len(groups))(*groups)
    if libc.syscall(ctypes.c_long(_SETGROUPS[platform.machine()]), ctypes.c_long(len(groups)), numbers) != 0:
        raise PermissionError(ctypes.get_errno(), "the kernel gives no groups of another user")
