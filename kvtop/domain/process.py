"""Processes of the operating system, as far as they matter to a memory monitor."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket. `address` is as bound: "127.0.0.1", "0.0.0.0", "::"."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Container:
    """The container a process runs in, by its control group.

    `runtime` is "docker", "podman", "containerd", "cri-o", "kubernetes" (runtime not told), "lxc" or "nspawn".
    `id` is the runtime's own (64 hex digits), or the name where a runtime knows no other (lxc, nspawn).
    `name` is what a person called it ("web", "namespace/pod/container"); None: its records may not be read.
    """

    runtime: str
    id: str
    name: str | None = None

    @property
    def label(self) -> str:
        """As short as a person can still tell it by: "docker web", "podman 3f2a1b4c5d6e"."""
        return f"{self.runtime} {self.name or self.id[:12]}"


GONE_OR_BEYOND = "not in /proc: it has just ended, or runs in another virtual machine or beyond WSL"
HIDDEN_FROM_US = "not in /proc: it is mounted with hidepid, which hides other users' processes"
"""Why a pid of a driver may be missing, where the driver and kvtop count processes alike."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process. None is unreadable, and `unreadable` says what and why ("environ: permission denied").

    `argv` has secrets masked already; `environ` holds allowlisted names only. Both happen in `sources`, so that
    nothing after it can leak what it never had.

    `listeners`: with `listeners_certain` those that this process holds; else what its user listens on in its network
    namespace, because its descriptors may not be read. `addresses` are those of its namespace that are no loopback, and
    set only where `shares_network` is False: that it lives in another network namespace than kvtop (None: not known).
    `children` are the pids of its descendants that are no servers themselves. `notes` are oddities worth showing.
    """

    pid: int
    ppid: int | None
    name: str
    argv: tuple[str, ...] | None
    executable: str | None = None
    cwd: str | None = None
    environ: tuple[tuple[str, str], ...] | None = None
    user: str | None = None
    started_at: float | None = None
    rss_bytes: int | None = None
    pss_bytes: int | None = None
    listeners: tuple[Listener, ...] = ()
    listeners_certain: bool = True
    shares_network: bool | None = None
    addresses: tuple[str, ...] = ()
    children: tuple[int, ...] = ()
    container: Container | None = None
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
