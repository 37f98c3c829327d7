"""Layers of one device in a trial of `--fit`, and the flags that stand for them (`ngl_t`, common/fit.cpp, b11434)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from kvtop.planning.llamacpp.fit.replay.integers import as_uint32
from kvtop.planning.llamacpp.fit.replay.trial import CPU_BUFFER, Override, Parameters

ALL_EXPERTS = r"blk\.\d+\.ffn_(up|down|gate_up|gate)_(ch|)exps"
"""Every tensor of experts, whichever block."""


class Kept(IntEnum):
    """How much of the first partial layer stays on its device (`common_layer_fraction_t`)."""

    ATTENTION = 1
    UP = 2
    """Attention and up."""
    GATE = 3
    """Attention, up and gate."""
    ALL_BUT_EXPERTS = 4


_OVERFLOWING = {
    Kept.ATTENTION: r"ffn_(gate|up|gate_up|down).*",
    Kept.UP: r"ffn_(gate|gate_up|down).*",
    Kept.GATE: r"ffn_down.*",
    Kept.ALL_BUT_EXPERTS: r"ffn_(up|down|gate_up|gate)_(ch|)exps",
}


@dataclass(frozen=True, slots=True)
class Share:
    """One device's layers: the first `n_full` are whole, the `n_part` behind them lack experts.

    The first partial layer keeps `kept` and overflows to `overflow`, the others to the CPU.
    """

    n_layer: int = 0
    n_part: int = 0
    kept: Kept = Kept.ALL_BUT_EXPERTS
    overflow: str = CPU_BUFFER

    @property
    def n_full(self) -> int:
        """Layers with all their tensors."""
        return as_uint32(self.n_layer - self.n_part)

    def grown(self, layers: int, partial: int) -> "Share":
        """With so many layers and partial layers more. Counts wrap around below 0, as the engine's do."""
        return replace(self, n_layer=as_uint32(self.n_layer + layers), n_part=as_uint32(self.n_part + partial))


def changed(shares: Sequence[Share], device: int, share: Share) -> tuple[Share, ...]:
    """The shares with one exchanged."""
    return (*shares[:device], share, *shares[device + 1 :])


def placed(parameters: Parameters, shares: Sequence[Share], n_layer: int) -> Parameters:
    """The parameters that put these shares into effect (`set_ngl_tensor_split_tbo`).

    Blocks are numbered as if the output layer were the first layer of the last device instead of its last.
    """
    gpu_layers = sum(share.n_layer for share in shares)
    block = as_uint32(n_layer + 1 - gpu_layers)
    overrides: list[Override] = []
    for share in shares:
        block = as_uint32(block + share.n_full)
        end = as_uint32(block + share.n_part)
        for number in range(block, end):
            kept, buffer = (share.kept, share.overflow) if number == block else (Kept.ALL_BUT_EXPERTS, CPU_BUFFER)
            overrides.append((rf"blk\.{number}\.{_OVERFLOWING[kept]}", buffer))
        block = end
    split = tuple(float(share.n_layer) for share in shares) if len(shares) > 1 else parameters.tensor_split
    return replace(parameters, gpu_layers=gpu_layers, tensor_split=split, overrides=tuple(overrides))
