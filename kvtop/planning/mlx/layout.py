"""What one sequence keeps per layer in mlx-lm: the shapes behind the cache classes of `models/cache.py` (0.32.2)."""

from dataclasses import dataclass
from enum import StrEnum


class CacheKind(StrEnum):
    """The growth rule of a cache class."""

    FULL = "full"
    """KVCache, and QuantizedKVCache once converted."""
    SLIDING = "sliding_window"
    """RotatingKVCache."""
    CHUNKED = "chunked"
    """ChunkedKVCache (Llama 4)."""
    RECURRENT = "recurrent"
    """ArraysCache: constant state."""


@dataclass(frozen=True, slots=True)
class LayerCache:
    """One cache object. Rows hold `heads` x (`key_dim` + `value_dim`) values; `window_tokens` bounds a sliding one.

    A recurrent one holds `state_values` of the model's own type and `float32_values` of four bytes, once.
    `nested`: it lies inside a CacheList, which `--kv-bits` never converts.
    """

    kind: CacheKind
    heads: int = 0
    key_dim: int = 0
    value_dim: int = 0
    window_tokens: int = 0
    state_values: int = 0
    float32_values: int = 0
    nested: bool = False


@dataclass(frozen=True, slots=True)
class ModelCaches:
    """All caches of one sequence in the order mlx-lm makes them.

    `after_conversion_error`: what this model's attention raises at the first token after its cache was quantized, in
    MLX's own words; None where it can read a quantized cache.
    """

    model_type: str
    caches: tuple[LayerCache, ...]
    after_conversion_error: str | None = None
    prefill_error: str | None = None
    """The same where more than one token follows, if those words differ."""

    def error_reading(self, tokens: int) -> str | None:
        """What `tokens` more tokens raise once a cache is quantized, or None."""
        return self.prefill_error if tokens > 1 and self.prefill_error else self.after_conversion_error


def full(heads: int, key_dim: int, value_dim: int | None = None, *, nested: bool = False) -> LayerCache:
    """A KVCache; values are as wide as keys unless stated."""
    return LayerCache(CacheKind.FULL, heads, key_dim, key_dim if value_dim is None else value_dim, nested=nested)


def sliding(
    heads: int, key_dim: int, window_tokens: int, value_dim: int | None = None, *, nested: bool = False
) -> LayerCache:
    """A RotatingKVCache of `window_tokens` rows."""
    width = key_dim if value_dim is None else value_dim
    return LayerCache(CacheKind.SLIDING, heads, key_dim, width, window_tokens, nested=nested)


def recurrent(state_values: int, float32_values: int = 0, *, nested: bool = False) -> LayerCache:
    """An ArraysCache."""
    return LayerCache(CacheKind.RECURRENT, state_values=state_values, float32_values=float32_values, nested=nested)
