"""How much memory a scheduled graph needs on each device: ggml's graph allocator replayed (ggml-alloc.c, b11434).

Tensors take the best-fitting hole below the last one, else they grow the end; they are freed after their last use, and
an operation in place takes its source's memory over. What counts is the highest address reached.
"""

from bisect import bisect_left
from collections.abc import Sequence

from kvtop.planning.llamacpp.compute_graph import Tensor

_ENDLESS = 1 << 62


class _Arena:
    """Free blocks of one device, by address."""

    __slots__ = ("mask", "offsets", "sizes", "top")

    def __init__(self, alignment_bytes: int) -> None:
        self.mask = alignment_bytes - 1
        self.offsets = [0]
        self.sizes = [_ENDLESS]
        self.top = 0

    def take(self, size: int) -> int:
        sizes = self.sizes
        # Of equally good holes the last; the end is endless.
        best, fit = len(sizes) - 1, _ENDLESS
        for index, room in enumerate(sizes):
            if size <= room <= fit:
                best, fit = index, room
        address = self.offsets[best]
        if sizes[best] == size:
            del sizes[best], self.offsets[best]
        else:
            self.offsets[best] = address + size
            sizes[best] -= size
        end = address + size
        if end > self.top:
            self.top = end
        return address

    def give(self, address: int, size: int) -> None:
        offsets, sizes = self.offsets, self.sizes
        index = bisect_left(offsets, address)
        if index and offsets[index - 1] + sizes[index - 1] == address:
            sizes[index - 1] += size
            if index < len(offsets) and address + size == offsets[index]:
                sizes[index - 1] += sizes[index]
                del offsets[index], sizes[index]
        elif index < len(offsets) and address + size == offsets[index]:
            offsets[index] = address
            sizes[index] += size
        else:
            offsets.insert(index, address)
            sizes.insert(index, size)


def peak_bytes(first: Sequence[Tensor], ordered: Sequence[Tensor], alignments: Sequence[int]) -> list[int]:
    """Highest address per device. `first` exist before anything is computed.

    `alignments` has one entry a device, the host last.
    """
    arenas = [_Arena(alignment) for alignment in alignments]
    host = len(alignments) - 1
    for tensor in ordered:
        for source in tensor.sources:
            source.uses += 1
    for tensor in first:
        _allocate(tensor, arenas[tensor.device], 0)
    for tensor in ordered:
        if tensor.kept:
            _allocate(tensor, arenas[tensor.device], 0)
    for tensor in ordered:
        sources = tensor.sources
        if tensor.size_bytes and not tensor.held and not (tensor.reuse and _taken_over(tensor, arenas)):
            device = tensor.device
            _allocate(tensor, arenas[device], tensor.gpu_bytes if device != host else 0)
        for source in sources:
            uses = source.uses - 1
            source.uses = uses
            if not uses and source.held and not (source.kept or source.lasting):
                arenas[source.device].give(source.address, source.held)
                source.held = 0
    return [arena.top for arena in arenas]


def _allocate(tensor: Tensor, arena: _Arena, extra: int) -> None:
    mask = arena.mask
    held = (tensor.size_bytes + mask) & ~mask
    if extra:
        held = (held + extra + mask) & ~mask
    if held:
        tensor.address = arena.take(held)
        tensor.held = held


def _taken_over(tensor: Tensor, arenas: list[_Arena]) -> bool:
    sources = tensor.sources[: tensor.reuse]
    if tensor.view_first and not sources[0].copied:
        sources = sources[1:]
    for source in sources:
        if source.uses == 1 and source.held and not source.kept:
            arena = arenas[source.device]
            mask = arena.mask
            held = (tensor.size_bytes + mask) & ~mask
            if held > source.held:
                continue
            tensor.address = source.address
            tensor.held = held
            if held < source.held:
                arena.give(source.address + held, source.held - held)
            source.held = 0
            return True
    return False
