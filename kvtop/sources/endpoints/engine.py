"""What an engine module offers: what to ask a server of its kind, and what the answers mean. No I/O in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.process import Process
from kvtop.domain.server import ServerReading
from kvtop.sources.endpoints.http import Reply


@dataclass(frozen=True, slots=True)
class ServerInputs:
    """All that is known of one server. `replies` are the answers of this tick by path; absent: not asked.

    `is_listening` is false while its process is there and does not listen on its port yet; None: not known.

    `processes` are its own, the one that was recognised first; empty for a server of another machine. `reach_note` says
    why a server without `url` cannot be asked from here.
    """

    id: str
    url: str | None
    replies: Mapping[str, Reply]
    options: LaunchOptions | None = None
    processes: tuple[Process, ...] = ()
    reach_note: str = ""
    is_listening: bool | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """The pids of its processes."""
        return tuple(process.pid for process in self.processes)


class Engine(Protocol):
    """A module in `engines` with these names; `engines.ENGINES` lists them.

    `OPENS_OTHER_PORTS`: it also listens where no HTTP is spoken, so that no port but the told one is ever asked.

    `PATHS` holds every path that it ever asks: all are GET, and none loads, wakes, stops or unloads anything as it is
    asked here. `KEYED_PATHS` are those of them that a server with a key answers to nobody without it: one that answers
    has none. `SELDOM_SECONDS` says how old an answer may get before it is asked again; others are asked every tick.
    """

    @property
    def NAME(self) -> str: ...  # noqa: N802  a module's constant
    @property
    def DEFAULT_PORT(self) -> int: ...  # noqa: N802
    @property
    def OPENS_OTHER_PORTS(self) -> bool: ...  # noqa: N802
    @property
    def PATHS(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def KEYED_PATHS(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def SELDOM_SECONDS(self) -> Mapping[str, float]: ...  # noqa: N802

    def recognises(self, comm: str, argv: Sequence[str], /) -> bool:
        """Whether a process is a server of this kind; `comm` is the kernel's name of it, cut at 15 characters."""

    def config_files(self, argv: Sequence[str], environ: Mapping[str, str], /) -> tuple[str, ...]:
        """Files that are part of its command line, as the server names them."""

    def launch(
        self, argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]], /
    ) -> LaunchOptions:
        """Effective options. `argv` includes the program; `files` are (path, text) of the config files that exist."""

    def port_of(self, options: LaunchOptions, /) -> int | None:
        """The port it was told to listen on; None where the number that it was told is no port's."""

    def answers(self, replies: Mapping[str, Reply], /) -> bool:
        """Whether these replies can only be a server of this kind: how a server named by its URL is recognised."""

    def wanted(self, replies: Mapping[str, Reply], options: LaunchOptions | None, /) -> tuple[str, ...]:
        """The paths worth asking this tick, given what it has answered so far. Asked ones may be named again."""

    def read(self, known: ServerInputs, /) -> ServerReading:
        """The server. Copies named fields only; no body is kept."""
