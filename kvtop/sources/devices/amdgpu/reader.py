"""All AMD cards of this machine, and who holds what on them.

A process's bytes are the larger of what DRM tells of its open files and what KFD tells of it, never their sum: on
kernels before 6.8 ROCm's memory is in KFD alone, on later ones in both (amdgpu_top issue 49). KFD tells everybody's
bytes; the files of another user's process may be looked at by root only.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from kvtop.domain.compute_api import ROCM, VULKAN
from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.sources.devices.amdgpu.card import AmdCard
from kvtop.sources.devices.amdgpu.kfd import Kfd, KfdNode
from kvtop.sources.devices.drm.cards import drm_cards
from kvtop.sources.devices.drm.clients import DrmClients, OpenCard, held_by
from kvtop.sources.devices.host import host_memory

_DRIVERS = frozenset({"amdgpu"})
_RESCAN_SECONDS = 5.0
"""A card may be plugged in, and be taken from this driver (a virtual machine takes it over)."""


class AmdgpuBackend:
    """The cards under `root`. Everything is read by one thread."""

    def __init__(
        self,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
        host_memory: Callable[[], DeviceMemory] = host_memory,
    ) -> None:
        self._root = root
        self._clock = clock
        self._host_memory = host_memory
        self._kfd = Kfd(root)
        self._clients = DrmClients(_DRIVERS, root, clock)
        self._cards: list[AmdCard] = []
        self._nodes: Mapping[str, KfdNode] = {}
        self._scan_after = clock()

    def read(self) -> tuple[Device, ...]:
        """Every card now, in the order in which HIP counts them: that of KFD's nodes, else of PCI addresses."""
        if self._clock() >= self._scan_after:
            self._scan()
        if not self._cards:
            return ()
        clients = self._clients.read()
        with_rocm = self._kfd.processes() if self._kfd.is_there else None
        sees_all = self._clients.closed_count == 0
        return tuple(
            card.read(f"gpu{index}", self._processes(card, clients, with_rocm), sees_all=sees_all)
            for index, card in enumerate(self._cards)
        )

    def close(self) -> None:
        """Nothing is held."""

    def _scan(self) -> None:
        self._scan_after = self._clock() + _RESCAN_SECONDS
        self._nodes = self._kfd.nodes()
        found = drm_cards(self._root, _DRIVERS)
        known = {card.card.pci_address: card for card in self._cards}
        cards = [known.get(it.pci_address) or AmdCard(it, self._root, self._host_memory) for it in found]
        last = len(self._nodes) + 1_000
        nodes = self._nodes
        self._cards = sorted(cards, key=lambda it: nodes[a].index if (a := it.card.pci_address) in nodes else last)

    def _processes(
        self, card: AmdCard, clients: tuple[OpenCard, ...], with_rocm: Mapping[int, Mapping[int, int | None]] | None
    ) -> tuple[ProcessMemory, ...]:
        """By pid. `with_rocm` None: the kernel has no KFD, so that nobody knows by which API a process came."""
        drawn = held_by(clients, card.card.pci_address, card.share_of)
        mapped = held_by(clients, card.card.pci_address, card.mapped_beside)
        node = self._nodes.get(card.card.pci_address)
        computing: dict[int, int | None] = {}
        for pid, sizes in (with_rocm or {}).items():
            size = sizes.get(node.gpu_id, 0) if node is not None else 0
            if size != 0:
                computing[pid] = size
        rows = []
        for pid in sorted(drawn.keys() | computing.keys()):
            sizes_known = [size for size in (drawn.get(pid), computing.get(pid)) if size is not None]
            uses_rocm = with_rocm is not None and pid in with_rocm
            api = "" if with_rocm is None else (ROCM if uses_rocm else VULKAN).name
            contexts = ("compute",) if uses_rocm else ("graphics",)
            rows.append(ProcessMemory(pid, max(sizes_known, default=None), contexts, api, mapped.get(pid)))
        return tuple(rows)


def open_backend(root: Path = Path("/")) -> AmdgpuBackend | None:
    """None where there is no sysfs. Cards that come later are found by the open backend."""
    return AmdgpuBackend(root) if (root / "sys/class/drm").is_dir() else None
