"""What one layer keeps in the pool: its page, and the blocks that one request of full length needs.

Source of every formula: vLLM 0.32.0, `vllm/v1/kv_cache_interface.py`.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum


class SpecKind(StrEnum):
    """The kinds of cache that vLLM tells apart when it groups layers."""

    FULL = "full_attention"
    SINK = "sink_full_attention"
    MLA = "mla_attention"
    SLIDING = "sliding_window"
    CHUNKED = "chunked_local_attention"
    MAMBA = "mamba"
    CROSS = "cross_attention"

    @property
    def is_full(self) -> bool:
        """Kept for every token of the sequence; these kinds may share one group."""
        return self in (SpecKind.FULL, SpecKind.SINK, SpecKind.MLA)


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """The cache of one layer on one rank.

    `state_bytes`: bytes of one token in one head slot (K and V together), or of the whole state for MAMBA.
    `head_slots`: kv heads of this rank, twice that where a backend stores K and V apart, 1 for MLA and MAMBA.
    `kv_heads`, `head_size`, `head_size_v` and `storage` decide only whether two layers are the same kind of cache.
    `stride_rows`: blocks must start at multiples of that many rows (sparse MLA kernels), 0 for no such need.
    """

    kind: SpecKind
    block_size: int
    state_bytes: int
    head_slots: int = 1
    kv_heads: int = 1
    head_size: int = 0
    head_size_v: int = 0
    storage: str = ""
    window: int | None = None
    chunk: int | None = None
    page_padded: int | None = None
    stride_rows: int = 0
    role: str = ""
    prefill_checkpoints: int = 0
    dcp_sharded: bool = True
    sink_tokens: int = 0

    @property
    def unpadded_page_bytes(self) -> int:
        """Bytes of one block of this layer without padding."""
        if self.kind is SpecKind.MAMBA:
            return self.state_bytes
        return self.head_slots * self.block_size * self.state_bytes

    @property
    def page_bytes(self) -> int:
        """Bytes of one block of this layer as the pool counts it."""
        return self.unpadded_page_bytes if self.page_padded is None else self.page_padded

    @property
    def stride_bytes(self) -> int:
        """The page rounded up to the alignment of the backend's kernels."""
        if not self.stride_rows:
            return self.page_bytes
        unit = self.stride_rows * self.state_bytes
        return math.ceil(self.page_bytes / unit) * unit

    def with_block(self, block_size: int) -> "LayerSpec":
        """The same cache in blocks of `block_size` tokens."""
        return replace(self, block_size=block_size)


@dataclass(frozen=True, slots=True)
class RequestTerms:
    """What decides how many blocks one request of full length may hold.

    `in_flight_tokens`: tokens scheduled and not settled, `VllmConfig.max_in_flight_tokens` (`config/vllm.py`); one
    batch before 0.26.
    `mamba_align`: state is kept at block boundaries for prefix caching (`mamba_cache_mode` "align").
    """

    max_model_len: int
    in_flight_tokens: int
    dcp_size: int = 1
    mamba_align: bool = True
    encoder_tokens: int = 0
    draft_tokens: int = 0
    """Speculative decoding keeps a state for each of these."""


def ceil_div(dividend: int, divisor: int) -> int:
    """The quotient rounded up."""
    return -(-dividend // divisor)


def blocks_per_request(spec: LayerSpec, terms: RequestTerms) -> int:
    """Blocks that one request of `max_model_len` tokens may hold of this layer (`max_memory_usage_bytes` / page).

    A sliding window or a chunk holds the tokens in flight besides, because blocks are freed only once a step is
    settled; the window needs one more block since it may start inside one.
    """
    length = terms.max_model_len
    if spec.kind.is_full:
        if spec.dcp_sharded and terms.dcp_size > 1:
            length = ceil_div(length, terms.dcp_size)
        return ceil_div(length, spec.block_size)
    if spec.kind is SpecKind.SLIDING and spec.window is not None:
        return ceil_div(min(spec.window - 1 + terms.in_flight_tokens, length), spec.block_size) + 1
    if spec.kind is SpecKind.CHUNKED and spec.chunk is not None:
        return ceil_div(min(spec.chunk + terms.in_flight_tokens, length), spec.block_size)
    if spec.kind is SpecKind.CROSS:
        return ceil_div(terms.encoder_tokens, spec.block_size)
    return (2 + spec.prefill_checkpoints if terms.mamba_align else 1) + terms.draft_tokens
