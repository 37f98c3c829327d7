"""Which pairs of K and V types a backend has attention kernels for, and what happens to the others (b11434).

A quantized V cache forces fused attention on without a look at the kernels (src/llama-context.cpp): an unsupported
pair then ends on the CPU without an error. CUDA's wide kernels, which read prompts, always convert to f16; its vector
kernel, which generates, is compiled for some pairs only. The f16 copy of a layer is in the plan's compute buffer.
"""

from dataclasses import dataclass

from kvtop.domain.answers.cache_speed import CacheSpeed, Speed
from kvtop.planning.llamacpp.flash_attention import cuda_has_kernel, shapes_of_model
from kvtop.planning.llamacpp.model.hparams import HParams

DEFAULT_PAIRS = frozenset({("f16", "f16"), ("bf16", "bf16"), ("q8_0", "q8_0"), ("q4_0", "q4_0")})
"""`GGML_CUDA_FA_QUANTS` of a stock build (ggml/CMakeLists.txt)."""
FIRST_CONVERTING_BUILD, LAST_FALLING_BUILD = 11434, 10900
"""PR 28079 (mid-September 2026) turned the fall to the CPU into a conversion; where between the two is not known."""

_VECTOR_HEADS = frozenset({64, 128, 256})
_CUDA_TYPES = frozenset({"f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"})
_METAL_TYPES = _CUDA_TYPES
_METAL_HEADS = frozenset({32, 40, 48, 64, 72, 80, 96, 112, 128, 192, 256, 320, 512, 576})
_LONG_CELLS = 8192
_CUDA = "ggml-cuda/fattn.cu (b11434)"
_METAL = "ggml-metal-device.m (b11434)"
_VULKAN = "ggml-vulkan.cpp (b11434)"
_CONVERSION = "every generated token converts the used cache to f16 first"
_FALL = "attention silently runs on the CPU"

Shape = tuple[int, int, int]
"""Lengths of a key and a value, and query heads per key head."""

APIS_WITH_RULES = frozenset({"cuda", "rocm", "metal", "vulkan"})


@dataclass(frozen=True, slots=True)
class Attending:
    """What reads the cache. `compute_api` None: unknown; "cpu": no device. `build` None: unknown (11434 is b11434).

    `fused` is the plan's `flash_attention`; None counts as fused.
    """

    compute_api: str | None
    build: int | None = None
    capability: tuple[int, int] | None = None
    cells: int = 0
    fused: bool | None = None


def pair_speed(type_k: str, type_v: str, hparams: HParams, attending: Attending) -> CacheSpeed:
    """What generating over a cache of these types is like. The caller must exclude pairs that the engine rejects."""
    shapes = shapes_of_model(hparams)
    api = attending.compute_api
    if not shapes or hparams.traits.is_uncached or api == "cpu":
        return CacheSpeed(Speed.FINE, source="ggml-cpu takes every pair (b11434)" if api == "cpu" else "")
    if attending.fused is False:
        return CacheSpeed(Speed.FINE, "attention is not fused: keys are read as they are", "src/llama-graph.cpp")
    # A latent cache has no values of its own: they are a part of the key row, in its type.
    types = (type_k, type_k if hparams.is_mla else type_v)
    if api in {"cuda", "rocm"}:
        return _cuda(types, shapes, attending)
    if api == "metal":
        return _metal(types, shapes)
    if api == "vulkan":
        return _vulkan(types)
    return _anywhere(types, shapes)


def _cuda(types: tuple[str, str], shapes: frozenset[Shape], attending: Attending) -> CacheSpeed:
    pair = "/".join(types)
    odd = next((kind for kind in types if kind not in _CUDA_TYPES), None)
    if odd is not None:
        return CacheSpeed(Speed.ON_CPU, f"CUDA has no attention kernel for {odd}: {_FALL}", _CUDA)
    misfit = next((shape for shape in sorted(shapes) if not cuda_has_kernel(*shape, alibi=False)), None)
    if misfit is not None:
        return CacheSpeed(Speed.ON_CPU, f"CUDA has no attention kernel for heads of {misfit[0]}: {_FALL}", _CUDA)
    if types == ("f16", "f16"):
        return CacheSpeed(Speed.FINE, source=_CUDA)
    if types not in DEFAULT_PAIRS:
        return _uncompiled(pair, attending.build)
    wide = next((shape for shape in sorted(shapes) if _goes_wide(types[0], shape, attending)), None)
    if wide is not None:
        return CacheSpeed(
            Speed.CONVERTS, f"heads of {wide[0]} have no kernel that reads {types[0]} here: {_CONVERSION}", _CUDA
        )
    return CacheSpeed(Speed.FINE, source=_CUDA)


def _uncompiled(pair: str, build: int | None) -> CacheSpeed:
    source = f"{_CUDA}, llama.cpp PR 28079"
    if build is None:
        return CacheSpeed(
            Speed.UNKNOWN,
            f"stock CUDA builds have no kernel for {pair}: {_CONVERSION}, and before September 2026 {_FALL}; which "
            "build this is, is unknown",
            source,
        )
    if build < LAST_FALLING_BUILD:
        return CacheSpeed(Speed.ON_CPU, f"b{build} has no kernel for {pair}: {_FALL}", source)
    if build < FIRST_CONVERTING_BUILD:
        return CacheSpeed(
            Speed.UNKNOWN, f"depending on whether b{build} has PR 28079, {_CONVERSION}, or {_FALL}", source
        )
    return CacheSpeed(Speed.CONVERTS, f"a stock build has no kernel for {pair}: {_CONVERSION}", source)


def _goes_wide(kind: str, shape: Shape, attending: Attending) -> bool:
    """Whether generation takes a kernel that reads f16 only (`ggml_cuda_get_best_fattn_kernel`)."""
    length_k, length_v, group = shape
    if length_k not in _VECTOR_HEADS or length_v != length_k:
        return True
    capability = attending.capability
    if attending.compute_api != "cuda" or capability is None:
        return False
    if capability == (7, 0):
        return group % 4 == 0
    if kind != "bf16" or capability < (7, 5) or group < 2:
        return False
    # Unquantized caches take the vector kernel from Ada on, but not where many query heads share a long one.
    return capability < (8, 9) or (group > 4 and (length_k >= 256 or attending.cells >= _LONG_CELLS))


def _metal(types: tuple[str, str], shapes: frozenset[Shape]) -> CacheSpeed:
    if types[0] != types[1]:
        return CacheSpeed(Speed.ON_CPU, f"Metal takes one type for K and V: with {'/'.join(types)} {_FALL}", _METAL)
    if types[0] not in _METAL_TYPES:
        return CacheSpeed(Speed.ON_CPU, f"Metal has no attention kernel for {types[0]}: {_FALL}", _METAL)
    misfit = next((shape for shape in sorted(shapes) if shape[0] not in _METAL_HEADS or shape[0] < shape[1]), None)
    if misfit is not None:
        return CacheSpeed(Speed.ON_CPU, f"Metal has no attention kernel for heads of {misfit[0]}: {_FALL}", _METAL)
    if types[0] == "bf16":
        return CacheSpeed(Speed.UNKNOWN, "bf16 needs a chip with bfloat16, which was not stated", _METAL)
    return CacheSpeed(Speed.FINE, source=_METAL)


def _vulkan(types: tuple[str, str]) -> CacheSpeed:
    if types[0] != types[1] and "bf16" in types:
        return CacheSpeed(Speed.ON_CPU, f"Vulkan mixes bf16 with nothing: {_FALL}", _VULKAN)
    return CacheSpeed(Speed.FINE, source=_VULKAN)


def _anywhere(types: tuple[str, str], shapes: frozenset[Shape]) -> CacheSpeed:
    """What holds on every backend, where nobody said which one it is."""
    if types == ("f16", "f16"):
        return CacheSpeed(Speed.FINE, source="every backend's own reference")
    plain = all(shape[0] in _VECTOR_HEADS and shape[1] == shape[0] for shape in shapes)
    if types in {("q8_0", "q8_0"), ("q4_0", "q4_0")} and plain:
        return CacheSpeed(Speed.FINE, source=f"{_CUDA}, {_METAL}, {_VULKAN}")
    return CacheSpeed(
        Speed.UNKNOWN,
        f"whether {'/'.join(types)} has kernels depends on the backend, and kvtop does not know it here",
        f"{_CUDA}, {_METAL}, {_VULKAN}",
    )
