"""What llama-server writes to host memory when it saves a sequence: a prompt in its cache, a context checkpoint.

Sources, b11434: `llama_context::state_seq_get_size` (src/llama-context.cpp), `state_write` of llama-kv-cache.cpp,
llama-kv-cache-iswa.cpp, llama-memory-hybrid.cpp and llama-memory-recurrent.cpp. Builds before b9538 save all cells of a
sliding window's cache, and no build before b11063 the token of a cell.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kvtop.domain.plan import HostGrowth
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.memory.kv_cache import FULL, SLIDING_WINDOW, CacheGroup
from kvtop.planning.llamacpp.memory.recurrent import RecurrentGroup
from kvtop.planning.llamacpp.model_plan import ModelPlan
from kvtop.planning.llamacpp.options.settings import LlamaSettings

_MIB = 1 << 20
_WORD = 4
_OPENING = 2 * _WORD
"""A magic number and the sequence."""
_CELL = 3 * _WORD
"""Position, number of sequences, sequence."""
_CELL_EXTENSION = 3 * _WORD
"""Two more positions and the token, where the model's rotation has several dimensions."""
_LAYER = _WORD + 8
"""Type and bytes of a row; of transposed values type, bytes of one and their number, which is as much."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """Bytes of one sequence: all of it, and the part that a checkpoint holds (0: the model needs none)."""

    state_bytes: int
    checkpoint_bytes: int


def host_growth(settings: LlamaSettings, target: ModelPlan, second: ModelPlan | None) -> HostGrowth:
    """What the server may come to keep: saved prompts up to `--cache-ram`, and checkpoints of each slot."""
    context = target.context
    tokens = min(context.n_ctx_seq, target.prepared.hparams.n_ctx_train or context.n_ctx_seq)
    states = [saved_state(it, tokens, swa_full=settings.swa_full) for it in (target, second) if it is not None]
    known = [it for it in states if it is not None]
    is_known = len(known) == len(states)
    return HostGrowth(
        cache_limit_bytes=None if settings.cache_ram_mib < 0 else settings.cache_ram_mib * _MIB,
        prompt_tokens=tokens,
        prompt_bytes=sum(it.state_bytes for it in known) if is_known else None,
        checkpoints=max(settings.ctx_checkpoints, 0),
        checkpoint_bytes=sum(it.checkpoint_bytes for it in known) if is_known else None,
        slots=context.n_seq_max,
    )


def saved_state(found: ModelPlan, tokens: int, *, swa_full: bool) -> SavedState | None:
    """A sequence of so many tokens in one context; None where no rule is known for a cache of the model."""
    groups = found.layout.caches
    if any(group.kind not in {FULL, SLIDING_WINDOW} for group in groups):
        return None
    kinds = (found.context.type_k, found.context.type_v)
    streams = found.context.n_stream
    cell = _CELL + (_CELL_EXTENSION if _has_sections(found) else 0)
    hparams = found.prepared.hparams

    def cache(kind: str, cells: int) -> int:
        layers = [group for group in groups if group.kind == kind]
        return _cache_bytes(layers, kinds, streams, cells, cell)

    window = min(tokens, hparams.n_swa) if hparams.n_swa else tokens
    has_windows = any(group.kind == SLIDING_WINDOW for group in groups)
    attention = cache(FULL, tokens) if groups else 0
    sliding = cache(SLIDING_WINDOW, window) if has_windows else 0
    recurrent = _recurrent_bytes(found.layout.recurrent)
    # What cannot be rolled back: states, and windows that have moved on.
    partial = recurrent or (0 if swa_full else sliding)
    return SavedState(_OPENING + attention + sliding + recurrent, _OPENING + partial if partial else 0)


def _cache_bytes(groups: Iterable[CacheGroup], kinds: tuple[str, str], streams: int, cells: int, cell: int) -> int:
    """One cache: its streams, its cells, and for each layer a row of keys and one of values for every cell."""
    size_bytes = _WORD + streams * _WORD + cells * cell + 4 * _WORD
    key, value = (CACHE_TYPES[kind] for kind in kinds)
    for group in groups:
        per_layer = _LAYER + cells * key.row_bytes(group.width_k)
        if group.width_v is not None:
            per_layer += _LAYER + cells * value.row_bytes(group.width_v)
        size_bytes += per_layer * group.layers
    return size_bytes


def _recurrent_bytes(groups: Iterable[RecurrentGroup]) -> int:
    """One row of each state, and its cell."""
    rows = sum(group.layers * sum(_LAYER + values * _WORD for values in group.values) for group in groups)
    return 5 * _WORD + rows if rows else 0


def _has_sections(found: ModelPlan) -> bool:
    """Whether the rotation has dimensions of its own for pictures (M-RoPE)."""
    arch = found.prepared.hparams.arch
    sections = found.prepared.header.metadata.get(f"{arch}.rope.dimension_sections")
    return isinstance(sections, (list, tuple)) and any(sections)
