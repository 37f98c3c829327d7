"""As whom a process opens files: user, group and supplementary groups."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

_SET_ID = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True, slots=True)
class Credentials:
    """Numbers of a user, its group and its other groups."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def may(self, status: os.stat_result, wanted: int) -> bool:
        """Whether the mode of a file grants this user `wanted`: 4 to read it, 1 to pass through a directory.

        As the kernel decides (Linux fs/namei.c, acl_permission_check): only the first class that fits counts.
        """
        if self.uid == 0:
            return True
        if self.uid == status.st_uid:
            granted = status.st_mode >> 6
        elif status.st_gid == self.gid or status.st_gid in self.groups:
            granted = status.st_mode >> 3
        else:
            granted = status.st_mode
        return granted & wanted == wanted


def credentials_of(pid: int, proc: Path = Path("/proc")) -> Credentials:
    """Of a running process. OSError where they cannot be told, or where the process runs a set-user-ID program.

    Its real user counts, who started it. A set-user-ID program can have another one altogether, though its words are
    those of whoever started it: what such a program names is not opened.
    """
    home = proc / str(pid)
    if not proc.joinpath("self", "stat").exists():
        return _without_proc(pid)
    lines = (home / "status").read_bytes().splitlines()
    fields = {name: rest.split() for name, _, rest in (line.partition(b":") for line in lines)}
    try:
        if (home / "exe").stat().st_mode & _SET_ID:
            raise PermissionError(errno.EPERM, "its program changes its user")
    except FileNotFoundError:
        pass  # deleted since it started
    try:
        return Credentials(int(fields[b"Uid"][0]), int(fields[b"Gid"][0]), tuple(map(int, fields[b"Groups"])))
    except (KeyError, IndexError, ValueError):
        raise OSError(errno.ESRCH, "its user cannot be determined") from None


def own_credentials() -> Credentials:
    """Of kvtop itself."""
    return Credentials(os.geteuid(), os.getegid(), tuple(os.getgroups()))


def _without_proc(pid: int) -> Credentials:
    import pwd  # noqa: PLC0415  POSIX only

    import psutil  # noqa: PLC0415  only where there is no /proc

    try:
        process = psutil.Process(pid)
        uid, gid = process.uids().real, process.gids().real
        groups = tuple(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except (psutil.Error, KeyError):
        raise OSError(errno.ESRCH, "its user cannot be determined") from None
    return Credentials(uid, gid, groups)
