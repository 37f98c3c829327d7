"""Listening TCP ports of a process, seen through its own network namespace, without root."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from kvtop.domain.process import Listener

_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Listening:
    """`is_certain` False: the descriptors may not be read, so these are the ports of the same user in its namespace."""

    listeners: tuple[Listener, ...]
    is_certain: bool


Tables = dict[int, list[str]]
"""Rows of /proc/PID/net/tcp{,6} that were read already, by the inode of the file: processes of one namespace share it.

The kernel walks all its sockets for one reading, which costs milliseconds."""


def listeners_of(
    pid: int, proc: Path = Path("/proc"), *, uid: int | None = None, tables: Tables | None = None
) -> Listening:
    """The ports that this process listens on, by port and address.

    `/proc/PID/net/tcp` shows the whole namespace, so only the socket inodes among the process's own descriptors count.
    Anybody may read that table, but not another user's descriptors: then the rows whose owner is `uid` are candidates,
    and none where `uid` is unknown. `tables` is shared by the calls of one look.
    """
    seen: Tables = {} if tables is None else tables
    inodes = _socket_inodes(proc / str(pid) / "fd")
    found: list[Listener] = []
    for family in ("tcp", "tcp6"):
        path = proc / str(pid) / "net" / family
        try:
            inode = path.stat().st_ino
            if inode not in seen:
                seen[inode] = path.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        rows = seen[inode]
        found += listening(rows, inodes) if inodes is not None else listening_as(rows, uid)
    return Listening(tuple(sorted(set(found), key=lambda it: (it.port, it.address))), inodes is not None)


def _socket_inodes(directory: Path) -> frozenset[str] | None:
    inodes = set()
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return None
    for name in names:
        try:
            target = str((directory / name).readlink())
        except OSError:
            continue  # closed since the listing
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    return frozenset(inodes)


def listening(rows: Iterable[str], inodes: frozenset[str]) -> list[Listener]:
    """Rows of /proc/net/tcp{,6} in state LISTEN whose inode is among `inodes`."""
    return [_listener(columns[1]) for columns in _listen_rows(rows) if columns[9] in inodes]


def listening_as(rows: Iterable[str], uid: int | None) -> list[Listener]:
    """Rows of /proc/net/tcp{,6} in state LISTEN that belong to this user."""
    return [] if uid is None else [_listener(columns[1]) for columns in _listen_rows(rows) if columns[7] == str(uid)]


def _listen_rows(rows: Iterable[str]) -> list[list[str]]:
    split = (row.split() for row in rows)
    return [columns for columns in split if len(columns) > 9 and columns[3] == _LISTEN]


def _listener(column: str) -> Listener:
    address, _, port = column.partition(":")
    return Listener(_address(address), int(port, 16))


def _address(text: str) -> str:
    """The kernel prints each 32-bit word in the machine's byte order; kvtop runs on little-endian machines."""
    raw = bytes.fromhex(text)
    if len(raw) == 4:
        return str(IPv4Address(raw[::-1]))
    words = b"".join(raw[start : start + 4][::-1] for start in range(0, 16, 4))
    return str(IPv6Address(words))
