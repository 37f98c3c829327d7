"""What mlx-lm raises when `--kv-bits` meets a cache that cannot be quantized, in its own words.

Source: mlx-lm 0.32.2 `generate.py` (maybe_quantize_kv_cache) and `models/cache.py`, mlx 0.32.4 `ops.cpp` (quantize).
"""

from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.mlx.layout import CacheKind
from kvtop.planning.mlx.rows import GrowingCache, Quantization

GROUP_SIZES = (32, 64, 128)
BITS = (1, 2, 3, 4, 5, 6, 8)
SOFT_CAPPED_ATTENTION = (
    "TypeError: expand_dims(): incompatible function arguments. The following argument types are supported:\n"
    "    1. expand_dims(a: array, /, axis: int | Sequence[int], *, stream: StreamOrDevice = None) -> array\n\n"
    "Invoked with types: list, int"
)
TILED_ATTENTION = (
    "TypeError: tile(): incompatible function arguments. The following argument types are supported:\n"
    "    1. tile(a: array, reps: int | Sequence[int], /, *, stream: StreamOrDevice = None) -> array\n\n"
    "Invoked with types: list, list"
)
LATENT_ATTENTION = "AttributeError: 'list' object has no attribute 'swapaxes'"


class EngineError(Exception):
    """The engine would raise; str() is its type and message."""


def convert(cache: GrowingCache, quantization: Quantization) -> bool:
    """Convert a cache where mlx-lm would, after a step. True when it holds quantized rows from now on.

    Raises:
        EngineError: mlx-lm would raise here.
    """
    layer = cache.layer
    if layer.nested or cache.converted or layer.kind in (CacheKind.CHUNKED, CacheKind.RECURRENT):
        return False
    if cache.offset < quantization.start_tokens:
        return False
    if layer.kind is CacheKind.SLIDING:
        raise EngineError("NotImplementedError: RotatingKVCache Quantization NYI")
    for dim in (layer.key_dim, layer.value_dim):
        check_quantize((1, layer.heads, cache.rows, dim), quantization)
    cache.converted = True
    return True


def check_quantize(shape: tuple[int, int, int, int], quantization: Quantization) -> None:
    """The checks of `mx.quantize` in its order.

    Raises:
        EngineError: mx.quantize would raise.
        NoExactRuleError: group size 0, for which there are no words.
    """
    group, bits = quantization.group_size, quantization.bits
    if group == 0:
        raise NoExactRuleError("--kv-group-size 0: mlx divides by it, and what follows depends on the processor")
    if shape[-1] % group:
        words = ",".join(str(extent) for extent in shape)
        raise EngineError(
            "ValueError: [quantize] The last dimension of the matrix needs to be divisible by the quantization "
            f"group size {group}. However the provided  matrix has shape ({words})"
        )
    if group not in GROUP_SIZES:
        raise EngineError(
            f"ValueError: [quantize] The requested group size {group} is not supported. "
            "The supported group sizes are 32, 64, and 128."
        )
    if bits not in BITS:
        raise EngineError(
            f"ValueError: [quantize] The requested number of bits {bits} is not supported. "
            "The supported bits are 1, 2, 3, 4, 5, 6 and 8."
        )
