"""How many rows a cache object of mlx-lm holds after a prompt, and what they weigh.

Source: mlx-lm 0.32.2, `models/cache.py` (classes' `update_and_fetch`), `generate.py` (`generate_step`: the prompt but
its last token in chunks of the prefill step, then one token; after each, caches at or past the start are converted).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kvtop.planning.mlx.layout import CacheKind, LayerCache

GROWTH_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Quantization:
    """`--kv-bits`, `--kv-group-size`, `--quantized-kv-start`."""

    bits: int
    group_size: int
    start_tokens: int


@dataclass(slots=True)
class GrowingCache:
    """One cache object while a sequence passes through it; `converted` once it holds quantized rows."""

    layer: LayerCache
    rows: int = 0
    offset: int = 0
    first: int = 0
    """Position of the first row kept (chunked caches drop their front)."""
    converted: bool = False

    def take(self, tokens: int) -> None:
        """Append `tokens` positions, as `update_and_fetch` does."""
        if self.layer.kind is CacheKind.SLIDING:
            self._take_sliding(tokens)
        else:
            if self.layer.kind is CacheKind.CHUNKED:
                self._drop_front()
            self._take_growing(tokens)
        self.offset += tokens

    def bytes(self, dtype_bytes: int, quantization: Quantization | None) -> int:
        """What it weighs now; `dtype_bytes` is the width of the model's activations."""
        layer = self.layer
        if layer.kind is CacheKind.RECURRENT:
            return layer.state_values * dtype_bytes + layer.float32_values * 4
        if self.converted and quantization is not None:
            width = sum(quantized_width(dim, dtype_bytes, quantization) for dim in (layer.key_dim, layer.value_dim))
        else:
            width = (layer.key_dim + layer.value_dim) * dtype_bytes
        return self.rows * layer.heads * width

    def _take_growing(self, tokens: int) -> None:
        held = self.offset - self.first
        if self.rows == 0 or held + tokens > self.rows:
            if self.rows and held % GROWTH_TOKENS:
                self.rows = held
            self.rows += -(-tokens // GROWTH_TOKENS) * GROWTH_TOKENS

    def _take_sliding(self, tokens: int) -> None:
        window = self.layer.window_tokens
        if tokens > 1:
            # A chunk is joined to what is kept, so that its first token still sees a whole window.
            self.rows = (self.rows - max(0, self.rows - window + 1) if self.rows else 0) + tokens
            return
        if self.rows == 0 or (self.offset >= self.rows and self.rows < window):
            self.rows += min(GROWTH_TOKENS, window - self.offset)
        self.rows = min(self.rows, window)

    def _drop_front(self) -> None:
        held = self.offset - self.first
        if self.rows and held > self.layer.window_tokens:
            self.first += held - self.layer.window_tokens
            self.rows = self.layer.window_tokens


def quantized_width(dim: int, dtype_bytes: int, quantization: Quantization) -> int:
    """Bytes of `dim` values: packed in 32-bit words, with a scale and a bias per group in the model's type."""
    return dim * quantization.bits // 32 * 4 + 2 * dtype_bytes * (dim // quantization.group_size)


def portions(context_tokens: int, prefill_tokens: int) -> Iterator[int]:
    """The lengths in which a prompt of `context_tokens` passes through the model, the last always one token."""
    left = context_tokens - 1
    while left > 0:
        portion = min(prefill_tokens, left)
        yield portion
        left -= portion
    yield 1
