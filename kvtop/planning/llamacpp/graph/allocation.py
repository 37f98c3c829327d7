"""How much memory a scheduled graph needs on each device: ggml's graph allocator replayed (ggml-alloc.c, b11434).

Tensors take the best-fitting hole below the last one, else they grow the end; they are freed after their last use, and
an operation in place takes its source's memory over. What counts is the highest address reached.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from kvtop.planning.llamacpp.graph.graph import Tensor

_ENDLESS = 1 << 62


class _Arena:
    """One device: holes by address, and the end, from which all is free."""

    __slots__ = ("end", "mask", "offsets", "sizes", "top")

    def __init__(self, alignment_bytes: int) -> None:
        self.mask = alignment_bytes - 1
        self.offsets: list[int] = []
        self.sizes: list[int] = []
        self.end = 0
        self.top = 0

    def take(self, size: int) -> int:
        """The best-fitting hole, of equally good ones the last; else the end."""
        sizes = self.sizes
        best, fit = -1, _ENDLESS
        for index, room in enumerate(sizes):
            if size <= room <= fit:
                best, fit = index, room
        if best < 0:
            address = self.end
            end = self.end = address + size
            if end > self.top:
                self.top = end
            return address
        address = self.offsets[best]
        if fit == size:
            del sizes[best], self.offsets[best]
        else:
            self.offsets[best] = address + size
            sizes[best] -= size
        return address

    def give(self, address: int, size: int) -> None:
        """Free a piece: it becomes one with free neighbours."""
        offsets, sizes = self.offsets, self.sizes
        after = address + size
        if after == self.end:
            if offsets and offsets[-1] + sizes[-1] == address:
                address = offsets.pop()
                sizes.pop()
            self.end = address
            return
        index = bisect_left(offsets, address)
        if index and offsets[index - 1] + sizes[index - 1] == address:
            sizes[index - 1] += size
            if index < len(offsets) and after == offsets[index]:
                sizes[index - 1] += sizes[index]
                del offsets[index], sizes[index]
        elif index < len(offsets) and after == offsets[index]:
            offsets[index] = address
            sizes[index] += size
        else:
            offsets.insert(index, address)
            sizes.insert(index, size)


@dataclass(frozen=True, slots=True)
class Script:
    """What a graph asks of the allocator: the order of everything, apart from how large anything is.

    Tensors are numbers here. Two graphs with equal moves on equal devices differ in sizes only.
    """

    moves: tuple["_Move", ...]
    """First what exists before anything is computed."""
    devices: tuple[int, ...]
    """By tensor."""
    sizes_bytes: tuple[int, ...]
    """By tensor, not padded."""
    extras_bytes: tuple[int, ...]
    """What a CUDA device allocates behind a tensor for its kernel."""


_Move = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Tensor (-1: nothing to allocate), whose memory it may take over, and who is not used any more."""


def script_of(first: Sequence[Tensor], ordered: Sequence[Tensor], host: int) -> Script:
    """The script of a scheduled graph. `first` exist before anything is computed; `host` is the CPU's number."""
    sizes: list[int] = []
    devices: list[int] = []
    extras: list[int] = []
    moves: list[_Move] = []

    def numbered(tensor: Tensor, extra: int) -> int:
        number = tensor.number = len(sizes)
        sizes.append(tensor.size_bytes)
        devices.append(tensor.device)
        extras.append(extra)
        return number

    for tensor in ordered:
        for source in tensor.sources:
            source.uses += 1
    for tensor in (*first, *(tensor for tensor in ordered if tensor.kept)):
        if tensor.size_bytes:
            moves.append((numbered(tensor, 0), (), ()))
    for tensor in ordered:
        sources = tensor.sources
        number = taken = -1
        over: tuple[int, ...] = ()
        if tensor.size_bytes and not (tensor.kept and tensor.number >= 0):
            if tensor.reuse:
                hidden = tensor.view_first and not sources[0].copied
                over = tuple(
                    source.number
                    for source in sources[1 if hidden else 0 : tensor.reuse]
                    if source.uses == 1 and source.number >= 0 and not source.kept
                )
            if over and sizes[over[0]] == tensor.size_bytes and not extras[over[0]]:
                # Nobody else can have taken it, and nothing is left of it: one tensor under two names.
                tensor.number = taken = over[0]
            else:
                number = numbered(tensor, tensor.gpu_bytes if tensor.device != host else 0)
        done: list[int] = []
        for source in sources:
            uses = source.uses = source.uses - 1
            if not uses and source.number not in (-1, taken) and not (source.kept or source.lasting):
                done.append(source.number)
        if number >= 0 or done:
            moves.append((number, over, tuple(done)))
    return Script(tuple(moves), tuple(devices), tuple(sizes), tuple(extras))


def peak_bytes(first: Sequence[Tensor], ordered: Sequence[Tensor], alignments: Sequence[int]) -> list[int]:
    """Highest address per device of a scheduled graph; see `script_of`.

    `alignments` has one entry a device, the host last.
    """
    script = script_of(first, ordered, len(alignments) - 1)
    return replayed(script, script.sizes_bytes, script.extras_bytes, alignments)


def replayed(
    script: Script, sizes_bytes: Sequence[int], extras_bytes: Sequence[int], alignments: Sequence[int]
) -> list[int]:
    """Highest address per device when a script's moves are made with these sizes."""
    arenas = [_Arena(alignment) for alignment in alignments]
    homes = [arenas[device] for device in script.devices]
    addresses = [0] * len(homes)
    held = [0] * len(homes)
    for number, over, done in script.moves:
        if number >= 0:
            arena = homes[number]
            mask = arena.mask
            size = (sizes_bytes[number] + mask) & ~mask
            for source in over:
                # In place: nothing behind the tensor then, and what is left of the source is free.
                room = held[source]
                if size <= room and room:
                    address = addresses[number] = addresses[source]
                    held[number] = size
                    held[source] = 0
                    if size < room:
                        arena.give(address + size, room - size)
                    break
            else:
                if extras_bytes[number]:
                    size = (size + extras_bytes[number] + mask) & ~mask
                held[number] = size
                addresses[number] = arena.take(size)
        for source in done:
            room = held[source]
            if room:
                held[source] = 0
                homes[source].give(addresses[source], room)
    return [arena.top for arena in arenas]
