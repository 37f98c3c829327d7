"""Paths below another process's root, followed by the kernel as that process would (Linux openat2(2), since 5.6).

A link that leads out of that root is resolved inside it, and no moment lies between looking and opening.
"""

import ctypes
import errno
import os
import re
import struct
from functools import cache

_OPENAT2 = 437
"""One number on every machine (Linux include/uapi/asm-generic/unistd.h)."""
_IN_ROOT, _NO_MAGIC_LINKS = 0x10, 0x02
_ROOT = re.compile(r"(/proc/\d+/root)/(.+)", re.DOTALL)


def open_in_root(path: str) -> int | None:
    """An O_PATH descriptor of a path such as /proc/PID/root/etc/hostname. None: another path, or an older kernel.

    Raises OSError, as opening does.
    """
    match = _ROOT.fullmatch(path)
    if match is None or not _is_known():
        return None
    root = os.open(match[1], os.O_PATH | os.O_CLOEXEC)
    try:
        return _openat2(root, match[2])
    finally:
        os.close(root)


@cache
def _is_known() -> bool:
    if not hasattr(os, "O_PATH"):
        return False
    here = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(_openat2(here, "."))
    except OSError as error:
        return error.errno not in {errno.ENOSYS, errno.EPERM}  # EPERM: a container's filter that knows it not
    finally:
        os.close(here)
    return True


def _openat2(root: int, path: str) -> int:
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, _IN_ROOT | _NO_MAGIC_LINKS)
    libc = ctypes.CDLL(None, use_errno=True)
    words = ctypes.c_char_p(os.fsencode(path))
    opened = int(libc.syscall(ctypes.c_long(_OPENAT2), ctypes.c_int(root), words, how, ctypes.c_size_t(len(how))))
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return opened
