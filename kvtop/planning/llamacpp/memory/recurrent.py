"""State that does not grow with the context (src/llama-memory-recurrent.cpp, src/llama-kv-cache-dsv4.cpp, b11434)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.memory.buffers import BufferRule
from kvtop.planning.llamacpp.memory.kv_cache import COMPRESSED_RATIOS
from kvtop.planning.llamacpp.memory.placement import Placement
from kvtop.planning.llamacpp.model.hparams import HParams


@dataclass(frozen=True, slots=True)
class RecurrentGroup:
    """`layers` layers on one device; each has one f32 tensor per entry of `values`, so many values a row."""

    device: str
    values: tuple[int, ...]
    layers: int


def recurrent_groups(hparams: HParams, placement: Placement) -> tuple[RecurrentGroup, ...]:
    """Layers with state, by device: a rolling and a matrix state, or the compressors' state of DeepSeek V4."""
    counted: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for layer in range(hparams.n_layer):
        values = _values(hparams, layer)
        if values:
            counted[placement.cache_device(layer), values] += 1
    return tuple(RecurrentGroup(device, values, layers) for (device, values), layers in counted.items())


def _values(hparams: HParams, layer: int) -> tuple[int, ...]:
    if hparams.traits.compressed:
        return _compressor_values(hparams, layer)
    if not hparams.traits.has_state or not hparams.is_recurrent[layer]:
        return ()
    if hparams.traits.halves_apart and hparams.n_ff[layer] != 0:
        return ()
    return hparams.n_embd_r, hparams.n_embd_s


def _compressor_values(hparams: HParams, layer: int) -> tuple[int, ...]:
    """Keys and scores of the tokens that are not compressed yet, of the attention and of its indexer."""
    fine, coarse = COMPRESSED_RATIOS
    head = hparams.n_embd_head_k[0]
    if hparams.compress_ratios[layer] == fine:
        return (2 * head * 2 * fine,) * 2 + (2 * hparams.indexer_head_size * 2 * fine,) * 2
    return (head * coarse,) * 2 if hparams.compress_ratios[layer] == coarse else ()


def recurrent_bytes(group: RecurrentGroup, context: ResolvedContext, buffers: Mapping[str, BufferRule]) -> int:
    """State of one row per sequence, and one more per drafted token where the state can be rolled back."""
    rows = max(1, context.n_seq_max) * (1 + context.n_rs_seq)
    buffer = buffers[group.device]
    return group.layers * sum(buffer.allocated_rows(CACHE_TYPES["f32"], values, rows) for values in group.values)
