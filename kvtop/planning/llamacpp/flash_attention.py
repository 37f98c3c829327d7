"""What `--flash-attn auto` becomes (`llama_init_from_model`, `resolve_fused_ops`, src/llama-context.cpp, b11434).

The engine builds a graph and looks whether attention landed on the device of its layer. On the CPU it always does; on
CUDA it does when a kernel exists for the head lengths and cache types (ggml-cuda/fattn.cu).
"""

from kvtop.domain.plan import PlanDevice
from kvtop.planning.llamacpp.memory.placement import Placement
from kvtop.planning.llamacpp.model.hparams import HParams

_ALIKE_TYPES = frozenset({"f32", "f16", "bf16", "q4_0", "q8_0"})
"""Pairs of one type that a stock build had kernels for before it converted (`GGML_CUDA_FA_ALL_QUANTS` off)."""
_KERNEL_TYPES = frozenset({"f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"})
_EQUAL_LENGTHS = frozenset({40, 64, 72, 80, 96, 112, 128, 256})


def cuda_has_kernel(length_k: int, length_v: int, group_size: int, alibi: bool) -> bool:
    """`ggml_cuda_get_best_fattn_kernel` for cached attention: query heads per key head decide the wide kernels."""
    grouped = group_size >= 2 and not alibi
    if length_k in _EQUAL_LENGTHS:
        return length_v == length_k
    if length_k == 192:
        return length_v == 128 and grouped and group_size % 8 == 0
    if length_k == 320:
        return length_v == 256 and grouped and group_size % 32 == 0
    if length_k == 512:
        return length_v == 512 and grouped
    return length_k == 576 and length_v == 512 and grouped


def has_fused_attention(
    hparams: HParams, placement: Placement, devices: tuple[PlanDevice, ...], types: tuple[str, str]
) -> bool:
    """Whether every attention layer's own device can run it fused with these K and V `types`."""
    shapes = attention_shapes(hparams, placement, devices)
    return not shapes or (
        _types_fit(hparams, types) and all(cuda_has_kernel(*one, hparams.use_alibi) for one in shapes)
    )


def attention_shapes(
    hparams: HParams, placement: Placement, devices: tuple[PlanDevice, ...]
) -> frozenset[tuple[int, int, int]]:
    """Key length, value length and query heads per key head of the layers that attend on CUDA devices."""
    cuda = {device.name for device in devices if device.compute_api in {"cuda", "rocm"}}
    return frozenset(
        _shape(hparams, layer)
        for layer in range(hparams.n_layer)
        if placement.layers[layer] in cuda and _attends(hparams, layer)
    )


def shapes_of_model(hparams: HParams) -> frozenset[tuple[int, int, int]]:
    """(length of a key, of a value, query heads per key head) of every attention in the trunk."""
    return frozenset(_shape(hparams, layer) for layer in range(hparams.n_layer) if _attends(hparams, layer))


def cuda_fuses(hparams: HParams, layer: int, types: tuple[str, ...]) -> bool:
    """Whether CUDA has a kernel for the attention of this layer over caches of these types; else the CPU runs it."""
    return _types_fit(hparams, types) and cuda_has_kernel(*_shape(hparams, layer), hparams.use_alibi)


def _types_fit(hparams: HParams, types: tuple[str, ...]) -> bool:
    # Without a cache, keys and values are f16 copies whatever the cache types are.
    if hparams.traits.is_uncached:
        return True
    if hparams.build.converts_cache_types:
        return set(types) <= _KERNEL_TYPES
    # Latent attention reads values out of the keys.
    kinds = set(types[:1] if hparams.is_mla else types)
    return len(kinds) <= 1 and kinds <= _ALIKE_TYPES


def _shape(hparams: HParams, layer: int) -> tuple[int, int, int]:
    """Lengths of a key and a value, and query heads per key head."""
    length_v = hparams.n_lora_kv if hparams.is_mla else hparams.n_embd_head_v[layer]
    return hparams.n_embd_head_k[layer], length_v, hparams.n_head[layer] // max(1, hparams.n_head_kv[layer])


def resolve_flash_attention(hparams: HParams, requested: str, v_is_quantized: bool, has_kernel: bool) -> bool:
    """Whether attention runs fused. `requested` is "on", "off" or "auto".

    A quantized V cache forces it on without a look at the kernels, where types are converted; Grok never runs fused.
    """
    if not hparams.traits.fuses_attention or requested == "off":
        return False
    forced = v_is_quantized and hparams.build.converts_cache_types
    return requested == "on" or forced or hparams.traits.is_recurrent or has_kernel


def _attends(hparams: HParams, layer: int) -> bool:
    return (
        hparams.n_head[layer] > 0
        and hparams.n_head_kv[layer] > 0
        and (not hparams.is_recurrent[layer] or hparams.traits.cached_layers == "all")
    )
