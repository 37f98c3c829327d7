"""Processes of the operating system, as far as they matter to a memory monitor."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket. `address` is as bound: "127.0.0.1", "0.0.0.0", "::"."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Process:
    """One process. None is unreadable, and `unreadable` says what and why ("environ: permission denied").

    `argv` has secrets masked already; `environ` holds allowlisted names only. Both happen in `sources`, so that
    nothing after it can leak what it never had.
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
    container: str | None = None
    unreadable: tuple[str, ...] = ()
