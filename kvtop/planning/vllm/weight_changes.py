"""What adapters add to the weights on a card, and what host memory takes of them."""

from dataclasses import replace

from kvtop.domain.figure import Figure
from kvtop.planning.vllm.options.weight_changes import WeightChanges
from kvtop.planning.vllm.weights import StageWeights

_LORA_SHARE = 0.0085
"""Buffers of one adapter of rank 16 over the weights of the layers they adapt, in 16 bits: rank times (rows + columns)
over rows times columns for the matrices of common models (0.3 % for a model of 70 billion parameters to 1.6 %)."""
_OFFLOAD_SLACK = 0.1
"""Whole modules are kept on the host until the amount is reached (`UVAOffloader`)."""


def adjusted(weights: StageWeights, changes: WeightChanges, is_stored: bool) -> StageWeights:
    """The weights after these options, as ranges. `is_stored`: they were read from files."""
    del is_stored
    notes, reason = list(weights.notes), weights.reason
    sizes = list(weights.per_stage)
    if changes.lora_slots:
        share = _LORA_SHARE * changes.lora_slots * changes.lora_rank / 16
        sizes = [None if size is None else _grown(size, share) for size in sizes]
        notes.append(f"buffers of {changes.lora_slots} adapters of rank {changes.lora_rank} are an estimate")
        reason = reason or "buffers of adapters"
    if changes.offload_bytes:
        sizes = [None if size is None else _offloaded(size, changes.offload_bytes) for size in sizes]
        notes.append("--cpu-offload-gb keeps whole modules in host memory: what stays on the card is a range")
        reason = reason or "weights that stay on the host"
    if changes.offloads_groups:
        sizes = [None for _ in sizes]
        notes.append("--offload-group-size keeps layers in host memory: what stays on the card is not known")
    return replace(weights, per_stage=tuple(sizes), notes=tuple(notes), reason=reason)


def _grown(size: Figure, share: float) -> Figure:
    if size.value_bytes is None or size.most_bytes is None:
        return size
    return Figure.estimated(
        int(size.value_bytes * (1 + share)),
        int(size.least_bytes * (1 + share * 0.35)),
        int(size.most_bytes * (1 + share * 2)),
    )


def _offloaded(size: Figure, amount: int) -> Figure:
    def less(total: int, part: float) -> int:
        return max(0, int(total - part))

    if size.value_bytes is None or size.most_bytes is None:
        return size
    return Figure.estimated(
        less(size.value_bytes, amount),
        less(size.least_bytes, amount * (1 + _OFFLOAD_SLACK)),
        less(size.most_bytes, amount * (1 - _OFFLOAD_SLACK)),
    )
