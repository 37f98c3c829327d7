"""Listening TCP ports of a process, seen through its own network namespace, without root."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from kvtop.domain.process import Listener

_LISTEN = "0A"


def listeners_of(pid: int, proc: Path = Path("/proc")) -> tuple[Listener, ...] | None:
    """The ports that this process listens on; None when its descriptors may not be read (another user's process).

    `/proc/PID/net/tcp` shows the whole namespace, so only the socket inodes among the process's own descriptors count.
    """
    inodes = _socket_inodes(proc / str(pid) / "fd")
    if inodes is None:
        return None
    found: list[Listener] = []
    for family in ("tcp", "tcp6"):
        try:
            text = (proc / str(pid) / "net" / family).read_text(encoding="ascii")
        except OSError:
            continue
        found.extend(listening(text.splitlines()[1:], inodes))
    return tuple(sorted(set(found), key=lambda it: (it.port, it.address)))


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
    found = []
    for row in rows:
        columns = row.split()
        if len(columns) > 9 and columns[3] == _LISTEN and columns[9] in inodes:
            address, _, port = columns[1].partition(":")
            found.append(Listener(_address(address), int(port, 16)))
    return found


def _address(text: str) -> str:
    """The kernel prints each 32-bit word in the machine's byte order; kvtop runs on little-endian machines."""
    raw = bytes.fromhex(text)
    if len(raw) == 4:
        return str(IPv4Address(raw[::-1]))
    words = b"".join(raw[start : start + 4][::-1] for start in range(0, 16, 4))
    return str(IPv6Address(words))
