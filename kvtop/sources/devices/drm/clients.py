"""Who has a card open: the processes with a descriptor under /dev/dri, looked for within a budget.

Looking through the descriptors of every process each tick would cost more than everything else. So the first look is a
full one, and after it a tick reads only the descriptors that are known, and looks through a bounded number of processes
for new ones: those that have just started soon and often, the others in turn.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kvtop.sources.devices.drm.fdinfo import DrmClient, parse_fdinfo
from kvtop.sources.devices.drm.text_files import names_in, read_text

LOOKS_PER_TICK = 48
"""Processes whose descriptors are listed in one tick, at most."""
_DESCRIPTORS_OF_A_PROCESS = 4096
"""Of a process with more, the lowest numbers are looked at: a card is opened early."""
_SOONEST_SECONDS, _LATEST_SECONDS = 1.0, 20.0
_CLOSED_SECONDS = 60.0
"""A process that may not be looked at is tried again this late: its user hardly ever changes."""
_NODES = "/dev/dri/"


@dataclass(slots=True)
class _Looked:
    """When a process was met and is looked at next; its descriptors of cards; whether they may be seen."""

    met_at: float
    due: float
    descriptors: tuple[str, ...] = ()
    is_open: bool = True


ShareOf = Callable[[Mapping[str, int]], int]
"""What the regions of a client are of one device's memory."""


@dataclass(frozen=True, slots=True)
class OpenCard:
    """One client of a card in one process."""

    pid: int
    client: DrmClient


def held_by(clients: tuple[OpenCard, ...], pci_address: str, share: ShareOf) -> dict[int, int | None]:
    """Bytes on one card by pid; None where the driver lists a client of the process without sizes."""
    found: dict[int, int | None] = {}
    for it in clients:
        if it.client.pci_address == pci_address:
            before = found.get(it.pid, 0)
            is_told = before is not None and bool(it.client.regions)
            found[it.pid] = before + share(it.client.regions) if is_told and before is not None else None
    return found


class DrmClients:
    """Clients of the cards of some drivers. `root` is where /proc lies; `clock` is monotonic seconds."""

    def __init__(
        self, drivers: frozenset[str], root: Path = Path("/"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._drivers = drivers
        self._proc = root / "proc"
        self._clock = clock
        self._looked: dict[int, _Looked] = {}
        self._is_first = True

    @property
    def closed_count(self) -> int:
        """Processes whose descriptors may not be seen from here."""
        return sum(not looked.is_open for looked in self._looked.values())

    def read(self) -> tuple[OpenCard, ...]:
        """Every client now, once: the lowest pid has it where several processes share it."""
        now = self._clock()
        pids = sorted(int(name) for name in names_in(self._proc) if name.isascii() and name.isdigit())
        self._forget_all_but(pids, now)
        due = sorted((looked.due, pid) for pid, looked in self._looked.items() if looked.due <= now)
        for _, pid in due if self._is_first else due[:LOOKS_PER_TICK]:
            self._look(pid, now)
        self._is_first = False
        found: list[OpenCard] = []
        seen: set[tuple[str, str]] = set()
        for pid in pids:
            for client in self._clients_of(pid):
                key = (client.pci_address, client.identity or f"pid {pid}")
                if key not in seen:
                    seen.add(key)
                    found.append(OpenCard(pid, client))
        return tuple(found)

    def _forget_all_but(self, pids: list[int], now: float) -> None:
        self._looked = {pid: self._looked.get(pid) or _Looked(now, now) for pid in pids}

    def _look(self, pid: int, now: float) -> None:
        """List the descriptors of one process. Known ones that are closed now are found by it too."""
        looked = self._looked[pid]
        folder = self._proc / str(pid) / "fd"
        found: list[str] = []
        try:
            names = os.listdir(folder)  # noqa: PTH208  thousands a look: a Path costs more than the call
        except PermissionError:
            looked.is_open, looked.descriptors, looked.due = False, (), now + _CLOSED_SECONDS
            return
        except OSError:
            names = []  # it has just ended
        if len(names) > _DESCRIPTORS_OF_A_PROCESS:
            names = sorted(names, key=lambda name: (len(name), name))[:_DESCRIPTORS_OF_A_PROCESS]
        prefix = f"{folder}/"
        for name in names:
            try:
                target = os.readlink(prefix + name)  # noqa: PTH115  see above
            except OSError:
                continue
            if target.startswith(_NODES):
                found.append(name)
        looked.is_open, looked.descriptors = True, tuple(found)
        age = now - looked.met_at
        looked.due = now + min(max(age, _SOONEST_SECONDS), _LATEST_SECONDS)

    def _clients_of(self, pid: int) -> list[DrmClient]:
        """One entry a client; of a client without an identity the descriptor with the most bytes."""
        clients: dict[tuple[str, str | None], DrmClient] = {}
        looked = self._looked[pid]
        for name in looked.descriptors:
            text = read_text(self._proc / str(pid) / "fdinfo" / name)
            client = None if text is None else parse_fdinfo(text)
            if client is None:
                looked.due = 0.0  # the descriptor is another one now
                continue
            if client.driver in self._drivers:
                key = (client.pci_address, client.identity)
                known = clients.get(key)
                if known is None or sum(known.regions.values()) < sum(client.regions.values()):
                    clients[key] = client
        return list(clients.values())
