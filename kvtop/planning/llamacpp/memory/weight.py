"""One kind of tensor of a model file, and the bytes that some of them take in a buffer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.model_file import TensorInfo
from kvtop.planning.llamacpp.memory.buffers import BUFFER_RULES, HOST_BUFFER, BufferRule


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """What the tensors of one name, type and shape have in common, whichever block they are in.

    `name` is without `blk.N.`, `suffix` also without `.weight`. Compared by identity.
    """

    name: str
    suffix: str
    tensor: TensorInfo
    size_bytes: int
    fits_gpu: bool
    rows: int
    columns: int
    allocated: Mapping[BufferRule, int]
    """Bytes in a buffer of each kind."""

    def in_buffer(self, rule: BufferRule) -> int:
        """Bytes in a buffer of this rule."""
        known = self.allocated.get(rule)
        return rule.allocated(self.tensor, self.size_bytes) if known is None else known


@dataclass(frozen=True, slots=True)
class SiteSum:
    """Allocated bytes of some tensors: of what the device can use, by buffer rule; and of what stays on the host."""

    pieces: tuple[Weight, ...]
    usable: Mapping[BufferRule, int]
    host_only_bytes: int

    def in_buffer(self, rule: BufferRule) -> int:
        """Bytes of what the device can use, in a buffer of this rule."""
        known = self.usable.get(rule)
        return sum(piece.in_buffer(rule) for piece in self.pieces if piece.fits_gpu) if known is None else known


def sum_of(pieces: tuple[Weight, ...]) -> SiteSum:
    """Sums of these tensors under the common rules."""
    usable: Counter[BufferRule] = Counter(dict.fromkeys(BUFFER_RULES, 0))
    host_only = 0
    for piece in pieces:
        if piece.fits_gpu:
            usable.update(piece.allocated)
        else:
            host_only += piece.allocated[HOST_BUFFER]
    return SiteSum(pieces, usable, host_only)
