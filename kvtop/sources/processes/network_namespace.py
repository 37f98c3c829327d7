"""Whether a process lives in another network namespace, the addresses it has there, and whether they can be asked.

All of it is read from files that anybody may read: `/proc/PID/ns/net` is closed to other users, but every namespace
has a `/proc/PID/net` of its own, and the inode number of a file in it tells two apart (Linux fs/proc/proc_net.c).
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

_ETHERNET = "1"
"""ARPHRD_ETHER: bridges and virtual Ethernet pairs; tunnels (tun, WireGuard) have other types."""


def shares_network(pid: int, proc: Path = Path("/proc")) -> bool | None:
    """Whether a process is in kvtop's own network namespace; None where that cannot be told."""
    try:
        theirs, ours = (proc / str(pid) / "net" / "tcp").stat(), (proc / "self" / "net" / "tcp").stat()
    except OSError:
        return None
    return theirs.st_ino == ours.st_ino


def addresses_of(pid: int, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """The addresses of a process's network namespace, IPv4 first; no loopback and no link-local ones."""
    home = proc / str(pid) / "net"
    found: dict[str, None] = {}
    both: list[IPv4Address | IPv6Address] = [*_ipv4(_text(home / "fib_trie")), *_ipv6(_text(home / "if_inet6"))]
    for address in both:
        if not (address.is_loopback or address.is_link_local or address.is_unspecified):
            found[str(address)] = None
    return tuple(found)


def is_routable(address: str, proc: Path = Path("/proc"), interfaces: Path = Path("/sys/class/net")) -> bool:
    """Whether packets to a container's address go to a virtual Ethernet of this machine, as bridges and pairs are.

    A default route would carry them to whoever has that address in the network outside: rootless containers all
    get 10.0.2.100. Such an address is not asked.
    """
    device = _route4(address, _text(proc / "self/net/route")) if ":" not in address else _route6(address, proc)
    if device is None:
        return False
    home = interfaces / device
    try:
        is_virtual = "/virtual/" in str(home.resolve(strict=True))
        is_ethernet = (home / "type").read_text(encoding="ascii").strip() == _ETHERNET
    except OSError:
        return False
    return is_virtual and is_ethernet and not (home / "tun_flags").exists()


def _route4(address: str, table: str) -> str | None:
    """The interface of the longest match in /proc/net/route, whose words are little-endian hexadecimal."""
    wanted = int(IPv4Address(address))
    best: tuple[int, str] | None = None
    for line in table.splitlines()[1:]:
        columns = line.split()
        if len(columns) < 8 or not int(columns[3], 16) & 1:  # RTF_UP
            continue
        destination, mask = (_swapped(columns[index]) for index in (1, 7))
        if wanted & mask == destination and (best is None or mask > best[0]):
            best = (mask, columns[0])
    return None if best is None else best[1]


def _swapped(word: str) -> int:
    (value,) = struct.unpack("<I", bytes.fromhex(word))
    return int(value)


def _route6(address: str, proc: Path) -> str | None:
    """The interface of the longest match in /proc/net/ipv6_route."""
    wanted = int(IPv6Address(address))
    best: tuple[int, str] | None = None
    for line in _text(proc / "self/net/ipv6_route").splitlines():
        columns = line.split()
        if len(columns) < 10 or not int(columns[8], 16) & 1:  # RTF_UP
            continue
        length = int(columns[1], 16)
        if (wanted ^ int(columns[0], 16)) >> (128 - length) == 0 and (best is None or length > best[0]):
            best = (length, columns[9])
    return None if best is None else best[1]


def _ipv4(trie: str) -> list[IPv4Address]:
    """Local addresses in /proc/net/fib_trie: a leaf, and below it "/32 host LOCAL"."""
    found, leaf = [], ""
    for line in trie.splitlines():
        word = line.strip()
        if word.startswith("|-- "):
            leaf = word[4:]
        elif word.startswith("/32 host LOCAL") and leaf:
            found.append(IPv4Address(leaf))
    return found


def _ipv6(table: str) -> list[IPv6Address]:
    """/proc/net/if_inet6: 32 hexadecimal digits first in every line."""
    found = []
    for line in table.splitlines():
        digits = line.split(" ", 1)[0]
        if len(digits) == 32:
            address = ip_address(bytes.fromhex(digits))
            if isinstance(address, IPv6Address):
                found.append(address)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
