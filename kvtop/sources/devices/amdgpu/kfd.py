"""What ROCm's kernel driver (KFD) tells of processes, in /sys/class/kfd: readable by everybody.

Source: kfd_process.c and kfd_topology.c (kernel 5.x to 6.14). `proc/PID/vram_GPUID` are bytes; a node's `gpu_id` joins
them with `properties`, whose `domain` and `location_id` (bus, device and function) are the card's PCI address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kvtop.sources.devices.drm.text_files import names_in, read_text, read_whole, whole

_PROCESSES_LOOKED_AT = 1024


@dataclass(frozen=True, slots=True)
class KfdNode:
    """A card as KFD numbers it: the order of nodes is the order in which HIP counts devices."""

    index: int
    gpu_id: int


class Kfd:
    """KFD under `root`."""

    def __init__(self, root: Path) -> None:
        self._home = root / "sys/class/kfd/kfd"

    @property
    def is_there(self) -> bool:
        """Whether the kernel has KFD and this process sees it."""
        return (self._home / "topology/nodes").is_dir()

    def nodes(self) -> dict[str, KfdNode]:
        """Nodes of cards by PCI address. A processor is a node too, without SIMD units."""
        found: dict[str, KfdNode] = {}
        home = self._home / "topology/nodes"
        for name in names_in(home):
            gpu_id = read_whole(home / name / "gpu_id")
            words = _properties(read_text(home / name / "properties") or "")
            location, domain = words.get("location_id"), words.get("domain", 0)
            if not gpu_id or not words.get("simd_count") or location is None or whole(name) is None:
                continue
            bus, slot, function = location >> 8 & 0xFF, location >> 3 & 0x1F, location & 7
            address = f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"
            found.setdefault(address, KfdNode(int(name), gpu_id))
        return found

    def processes(self) -> dict[int, Mapping[int, int | None]]:
        """Bytes by `gpu_id` for each process that has ROCm open. None: it is listed and its bytes cannot be read."""
        home = self._home / "proc"
        found: dict[int, Mapping[int, int | None]] = {}
        for name in names_in(home)[:_PROCESSES_LOOKED_AT]:
            pid = whole(name)
            if pid is None:
                continue
            files = (file for file in names_in(home / name) if file.startswith("vram_"))
            sizes = {whole(file.removeprefix("vram_")): read_whole(home / name / file) for file in files}
            found[pid] = {gpu_id: size for gpu_id, size in sizes.items() if gpu_id is not None}
        return found


def _properties(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    known = {pair[0]: whole(pair[1], 1 << 64) for pair in pairs if len(pair) == 2}
    return {name: number for name, number in known.items() if number is not None}
