"""Every value of `--kv-cache-dtype` and what one token of one head takes.

Source: vLLM 0.32.0, `config/cache.py` (CacheDType), `utils/torch_utils.py`, the `customize_spec` of each backend,
`model_executor/layers/quantization/turboquant/config.py`, `layers/attention/mla_attention.py`.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

NATIVE = ("auto", "float16", "bfloat16")
"""Stored as the model computes ("auto") or in 16 bits."""
FP8 = ("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc")
DS_MLA_BYTES = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
"""Opaque bytes per token and layer of the packed formats of sparse MLA."""
PER_TOKEN_HEAD = ("int4_per_token_head", "int8_per_token_head", "fp8_per_token_head")
SCALE_BYTES = 8
"""A scale of the key and one of the value, for each token and head."""
NVFP4 = ("nvfp4", "nvfp4_4over6")
TURBOQUANT_BITS = {
    "turboquant_k8v4": (8, 4),
    "turboquant_4bit_nc": (4, 4),
    "turboquant_k3v4_nc": (3, 4),
    "turboquant_3bit_nc": (3, 3),
}
"""(bits of a key, bits of a value); 8 bits are FP8 without a norm."""
CACHE_DTYPES = (
    *NATIVE,
    *FP8,
    *DS_MLA_BYTES,
    *TURBOQUANT_BITS,
    "ultraquant_4bit",
    *PER_TOKEN_HEAD,
    *NVFP4,
)
"""All that the command line accepts."""

ELEMENT_BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2, "float64": 8}
"""Bytes of the model dtypes that vLLM computes in."""


class Packing(StrEnum):
    """How a backend lays a quantised cache out."""

    DENSE = "dense"
    INLINE_SCALES = "inline_scales"
    NVFP4 = "nvfp4"
    TURBOQUANT = "turboquant"


@dataclass(frozen=True, slots=True)
class TokenCell:
    """One token of one layer: `slots_per_head` head slots per kv head with `slot_bytes` each."""

    slot_bytes: int
    slots_per_head: int = 1


def is_quantised(dtype: str) -> bool:
    """Whether vLLM counts this cache type as quantised (`is_quantized_kv_cache`)."""
    return dtype not in NATIVE


def is_fp8_per_tensor(dtype: str) -> bool:
    """One scale for the whole tensor; `fp8_ds_mla` counts among them."""
    return dtype in FP8 or dtype == "fp8_ds_mla"


def element_bytes(dtype: str, model_dtype: str) -> int:
    """Bytes of one element before a backend packs it."""
    if dtype == "auto":
        return ELEMENT_BYTES[model_dtype]
    return 2 if dtype in NATIVE else 1


def turboquant_slot_bytes(dtype: str, head_size: int) -> int:
    """Key and value of one head packed together, rounded up to an even number."""
    key_bits, value_bits = TURBOQUANT_BITS[dtype]
    key = head_size if key_bits == 8 else math.ceil(head_size * key_bits / 8) + 2
    value = math.ceil(head_size * value_bits / 8) + 4
    return key + value + (key + value) % 2


def token_cell(dtype: str, model_dtype: str, head_size: int, head_size_v: int, packing: Packing) -> TokenCell:
    """One token of one kv head, K and V. MLA passes `head_size_v` 0: it keeps one latent vector."""
    element = element_bytes(dtype, model_dtype)
    if packing is Packing.INLINE_SCALES and dtype in PER_TOKEN_HEAD:
        halved = 2 if dtype == "int4_per_token_head" else 1
        return TokenCell((head_size // halved + head_size_v // halved) * element + SCALE_BYTES)
    if packing is Packing.NVFP4 and dtype in NVFP4:
        return TokenCell(head_size // 2 + head_size // 16, slots_per_head=2)
    if packing is Packing.TURBOQUANT and dtype in TURBOQUANT_BITS:
        return TokenCell(turboquant_slot_bytes(dtype, head_size))
    return TokenCell((head_size + head_size_v) * element)
