"""The attention backends of the CUDA build: what each one takes, and the pages of its kernels.

Source: vLLM 0.32.0, `v1/attention/backends/*.py` and `v1/attention/backends/mla/*.py` (class attributes and
`supports_*`); the special conditions of each are in `selection.py`.
"""

from dataclasses import dataclass
from enum import StrEnum

from kvtop.planning.vllm.dtypes import FP8, NATIVE, NVFP4, PER_TOKEN_HEAD, TURBOQUANT_BITS, Packing

SIXTEEN_BIT = ("float16", "bfloat16")
E4M3 = ("fp8", "fp8_e4m3")


class PoolLayout(StrEnum):
    """Physical orders of the pool; vLLM wants one that all backends of the model share."""

    LBNHC = "LBNHC"
    LBHNC = "LBHNC"
    BLHNC = "BLHNC"


@dataclass(frozen=True, slots=True)
class AttentionBackend:
    """One backend. `head_sizes` empty: any (or a rule in `selection.py`).

    `pages`: block sizes its kernels take; `exact_pages` False means any multiple of them.
    `layouts` None: any layout.
    """

    name: str
    cache_dtypes: tuple[str, ...]
    head_sizes: tuple[int, ...] = ()
    model_dtypes: tuple[str, ...] = SIXTEEN_BIT
    families: tuple[int, ...] = ()
    mla: bool = False
    sparse: bool = False
    sinks: bool = False
    sliding: bool = False
    mm_prefix: bool = False
    dcp: bool = False
    per_head_scales: bool = False
    non_decoder: tuple[str, ...] = ()
    """Attention types besides decoder self-attention."""
    pages: tuple[int, ...] = (16,)
    exact_pages: bool = False
    packing: Packing = Packing.DENSE
    layouts: tuple[PoolLayout, ...] | None = None
    stride_rows: int = 0
    """Sparse MLA kernels read flat rows: blocks start at multiples of this many."""


_ALL_TYPES = ("encoder", "encoder_only", "encoder_decoder")

FLASH_ATTN = AttentionBackend(
    "FLASH_ATTN", (*NATIVE, *E4M3), sliding=True, sinks=True, mm_prefix=True, dcp=True, per_head_scales=True,
    non_decoder=_ALL_TYPES,
)  # fmt: skip
TRITON_ATTN = AttentionBackend(
    "TRITON_ATTN", (*NATIVE, *E4M3, "fp8_e5m2", *PER_TOKEN_HEAD), model_dtypes=(*SIXTEEN_BIT, "float32"),
    sliding=True, sinks=True, mm_prefix=True, non_decoder=_ALL_TYPES, packing=Packing.INLINE_SCALES,
)  # fmt: skip
FLASHINFER = AttentionBackend(
    "FLASHINFER", (*NATIVE, *E4M3, "fp8_e5m2", *NVFP4), head_sizes=(64, 128, 256, 512), sliding=True, sinks=True,
    dcp=True, pages=(16, 32, 64), exact_pages=True, packing=Packing.NVFP4,
)  # fmt: skip
FLEX_ATTENTION = AttentionBackend(
    "FLEX_ATTENTION", NATIVE, model_dtypes=(*SIXTEEN_BIT, "float32"), sliding=True, mm_prefix=True,
    non_decoder=("encoder_only",), layouts=(PoolLayout.LBNHC,),
)  # fmt: skip
TURBOQUANT = AttentionBackend(
    "TURBOQUANT", tuple(TURBOQUANT_BITS), pages=(16, 32, 64, 128), exact_pages=True, packing=Packing.TURBOQUANT,
    layouts=(PoolLayout.LBNHC,),
)  # fmt: skip
TRITON_FLASH_ATTN = AttentionBackend(
    "TRITON_FLASH_ATTN", (*NATIVE, *E4M3), head_sizes=(256, 512), families=(9,), sliding=True, mm_prefix=True,
)  # fmt: skip
TRITON_FLASHINFER = AttentionBackend(
    "TRITON_FLASHINFER", (*NATIVE, *E4M3, "fp8_e5m2"), head_sizes=(256, 512), families=(10,), sliding=True,
    mm_prefix=True, pages=(64,), layouts=(PoolLayout.LBHNC, PoolLayout.BLHNC),
)  # fmt: skip

_LATENT = (320, 512, 576)
FLASH_ATTN_MLA = AttentionBackend("FLASH_ATTN_MLA", NATIVE, _LATENT, families=(9,), mla=True, dcp=True)
FLASHMLA = AttentionBackend("FLASHMLA", (*NATIVE, *E4M3), _LATENT, families=(9, 10), mla=True, dcp=True, pages=(64,))
FLASHINFER_MLA = AttentionBackend(
    "FLASHINFER_MLA", (*NATIVE, *E4M3), _LATENT, families=(10,), mla=True, dcp=True, pages=(32, 64)
)
TRITON_MLA = AttentionBackend("TRITON_MLA", (*NATIVE, *E4M3), mla=True, dcp=True)
CUTLASS_MLA = AttentionBackend(
    "CUTLASS_MLA", (*NATIVE, *E4M3), _LATENT, families=(10,), mla=True, dcp=True, pages=(128,)
)
TOKENSPEED_MLA = AttentionBackend("TOKENSPEED_MLA", E4M3, _LATENT, families=(10,), mla=True, dcp=True, pages=(32, 64))
FLASH_ATTN_MLA_SPARSE = AttentionBackend(
    "FLASH_ATTN_MLA_SPARSE", NATIVE, families=(9,), mla=True, sparse=True, pages=(64,), stride_rows=1
)
FLASHMLA_SPARSE = AttentionBackend(
    "FLASHMLA_SPARSE", ("auto", "bfloat16", "fp8_ds_mla", "fp8", "nvfp4_ds_mla"), (576, 512),
    model_dtypes=("bfloat16",), families=(9, 10), mla=True, sparse=True, dcp=True, pages=(64,), stride_rows=1,
)  # fmt: skip
FLASHINFER_MLA_SPARSE = AttentionBackend(
    "FLASHINFER_MLA_SPARSE", (*NATIVE, *E4M3), (512, 576), families=(10,), mla=True, sparse=True, dcp=True,
    pages=(32,), stride_rows=32,
)  # fmt: skip
FLASHINFER_MLA_SPARSE_SM90 = AttentionBackend(
    "FLASHINFER_MLA_SPARSE_SM90", ("auto", "bfloat16", *E4M3), (512, 576), model_dtypes=("bfloat16",), families=(9,),
    mla=True, sparse=True, pages=(64,), stride_rows=1,
)  # fmt: skip
FLASHINFER_MLA_SPARSE_SM120 = AttentionBackend(
    "FLASHINFER_MLA_SPARSE_SM120", ("auto", *E4M3, "fp8_ds_mla"), (512, 576), model_dtypes=("bfloat16",),
    families=(12,), mla=True, sparse=True, pages=(64,), stride_rows=64,
)  # fmt: skip
INDEXER = AttentionBackend("DEEPSEEK_V32_INDEXER", (), (32, 64, 128), pages=(64,))
"""Not chosen: it comes with sparse MLA and takes part in the choice of a block size."""

CUDA_BACKENDS = {
    backend.name: backend
    for backend in (
        FLASH_ATTN, TRITON_ATTN, FLASHINFER, FLEX_ATTENTION, TURBOQUANT, TRITON_FLASH_ATTN, TRITON_FLASHINFER,
        FLASH_ATTN_MLA, FLASHMLA, FLASHINFER_MLA, TRITON_MLA, CUTLASS_MLA, TOKENSPEED_MLA, FLASH_ATTN_MLA_SPARSE,
        FLASHMLA_SPARSE, FLASHINFER_MLA_SPARSE, FLASHINFER_MLA_SPARSE_SM90, FLASHINFER_MLA_SPARSE_SM120,
    )
}  # fmt: skip
"""Backends that `--attention-backend` can name and kvtop knows."""

FP8_PREFIXED = (*FP8, "fp8_per_token_head", "fp8_ds_mla")
"""Types that Triton refuses below compute capability 8.9: it looks at the name only."""
