"""A process that an engine recognised, and what a way to read processes offers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from kvtop.domain.process import Process
from kvtop.sources.processes.process_facts import Stat

Recognises = Callable[[str, tuple[str, ...]], bool]
"""Whether a process with this name and command line is a server."""


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A recognised process. `argv` and `environ` are unmasked and stay in `sources`: options and paths are read there.

    `environ` is empty where it could not be read; `process.environ` is None then. `children` are its descendants that
    are no servers themselves, by pid: engine cores, workers, and forks of itself.
    """

    process: Process
    argv: tuple[str, ...]
    environ: dict[str, str]
    children: tuple[Process, ...] = ()

    @property
    def pids(self) -> tuple[int, ...]:
        """Its own pid and its children's."""
        return (self.process.pid, *(child.pid for child in self.children))


class ProcessReader(Protocol):
    """How the processes of one kind of system are read. A process that vanishes meanwhile is None or left out."""

    def stats(self) -> Iterator[tuple[int, Stat]]:
        """Every process now: the start of a look."""

    def first_look(self, pid: int, stat: Stat, recognises: Recognises) -> FoundProcess | None:
        """What does not change of a process, if it is recognised."""

    def again(self, process: Process, *, with_ports: bool) -> Process:
        """The same with what changes: its memory and, if wanted, its ports."""

    def child(self, pid: int, stat: Stat, known: Process | None) -> Process:
        """A process that belongs to a server; `known` is what was said of it before."""
