"""What the backends of latent attention want besides dtype and head size.

Source: vLLM 0.32.0, `supports_combination` in `v1/attention/backends/mla/*.py`.
"""

from kvtop.planning.vllm.backends.cuda import AttentionBackend
from kvtop.planning.vllm.backends.flash_attention import AttentionCard
from kvtop.planning.vllm.backends.layer_request import LayerRequest
from kvtop.planning.vllm.dtypes import NATIVE

Checks = tuple[tuple[bool, str], ...]
"""(does it fail, the reason) in vLLM's order."""


def latent_reason(backend: AttentionBackend, question: LayerRequest, card: AttentionCard) -> str | None:
    """The first reason why this combination does not work, None where it does."""
    checks = _dense_checks(backend, question, card) + _sparse_checks(backend, question, card)
    return next((reason for fails, reason in checks if fails), None)


def _dense_checks(backend: AttentionBackend, question: LayerRequest, card: AttentionCard) -> Checks:
    nope = question.mla.qk_nope_head_dim
    return {
        "FLASH_ATTN_MLA": ((card.family != 9, "FlashAttention MLA not supported on this device"),),
        "FLASHMLA": (
            (card.family != 9 and not question.use_sparse, "FlashMLA Dense is only supported on Hopper devices."),
        ),
        "FLASHINFER_MLA": (
            (
                nope not in (64, 128, 192),
                f"FlashInfer MLA kernel requires qk_nope_head_dim in [64, 128, 192], but got {nope}",
            ),
        ),
        # A package of its own that vLLM's wheels do not bring along.
        "TOKENSPEED_MLA": (
            (True, "tokenspeed_mla package is not installed. Install it with: `uv pip install tokenspeed-mla`"),
        ),
    }.get(backend.name, ())


def _sparse_checks(backend: AttentionBackend, question: LayerRequest, card: AttentionCard) -> Checks:
    shape, dtype, wide = question.mla, question.cache_dtype, question.head_size == 512
    capability = f"DeviceCapability(major={card.capability[0]}, minor={card.capability[1]})"
    return {
        "FLASH_ATTN_MLA_SPARSE": (
            (dtype not in NATIVE, "FlashAttention MLA Sparse currently supports only FP16/BF16 KV cache"),
            (card.family != 9, "FlashAttention MLA not supported on this device"),
            (card.dcp, "FlashAttention MLA Sparse does not support DCP for now"),
            (not shape.has_index_topk, "FlashAttention MLA Sparse requires model with index_topk"),
        ),
        "FLASHMLA_SPARSE": (
            (
                wide and (dtype not in (*NATIVE, "fp8_ds_mla") or card.family != 9),
                (
                    "FLASHMLA_SPARSE supports head_size 512 only with bf16 or fp8_ds_mla kv-cache on SM90 (NoPE), "
                    f"got kv_cache_dtype={dtype}, capability={capability}"
                ),
            ),
            (
                wide and shape.qk_rope_head_dim != 0,
                "FLASHMLA_SPARSE supports head_size 512 only for rope-free (NoPE) models",
            ),
            (
                dtype == "nvfp4_ds_mla" and card.family != 10,
                "FLASHMLA_SPARSE only supports the nvfp4_ds_mla kv-cache dtype on SM100 (Blackwell)",
            ),
        ),
        "FLASHINFER_MLA_SPARSE": (
            (dtype == "fp8_ds_mla", "FLASHINFER_MLA_SPARSE SM10 does not support fp8_ds_mla kv-cache dtype"),
            (
                bool(shape.qk_rope_head_dim) and shape.qk_nope_head_dim not in (128, 192),
                (
                    "FlashInfer MLA Sparse kernel requires qk_nope_head_dim in [128, 192], "
                    f"but got {shape.qk_nope_head_dim}"
                ),
            ),
            (not shape.has_index_topk, "FlashInfer MLA Sparse requires model with index_topk config"),
        ),
        "FLASHINFER_MLA_SPARSE_SM90": (
            (not question.use_sparse, "FLASHINFER_MLA_SPARSE_SM90 requires sparse MLA"),
            (shape.kv_lora_rank != 512, "FLASHINFER_MLA_SPARSE_SM90 requires kv_lora_rank=512"),
            (
                shape.qk_rope_head_dim not in (0, 64),
                "FLASHINFER_MLA_SPARSE_SM90 requires qk_rope_head_dim in (0, 64)",
            ),
        ),
    }.get(backend.name, ())
