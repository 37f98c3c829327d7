"""Why a backend cannot serve a layer, in vLLM's words and order, and which one it takes.

Source: vLLM 0.32.0, `v1/attention/backend.py` (`validate_configuration`), `platforms/cuda.py`
(`_get_backend_priorities`, `get_attn_backend_cls`), `v1/attention/selector.py`.
"""

from kvtop.planning.vllm.backends import cuda as b
from kvtop.planning.vllm.backends import flash_attention as fa
from kvtop.planning.vllm.backends.cuda import AttentionBackend
from kvtop.planning.vllm.backends.flash_attention import AttentionCard, Heads
from kvtop.planning.vllm.backends.latent import latent_reason
from kvtop.planning.vllm.backends.layer_request import LayerRequest
from kvtop.planning.vllm.dtypes import NATIVE, is_quantised
from kvtop.planning.vllm.refusals import StartRefusedError


def choose(question: LayerRequest, card: AttentionCard, forced: AttentionBackend | None = None) -> AttentionBackend:
    """The backend vLLM takes for this layer.

    Raises:
        RefusedError: none is valid, or the one on the command line is not, or its kernel refuses the card.
    """
    if forced is not None:
        why = reasons(forced, question, card)
        if why:
            raise StartRefusedError(
                f"Selected backend AttentionBackendEnum.{forced.name} is not valid for this configuration. "
                f"Reason: {why}"
            )
        chosen = forced
    else:
        rejected: dict[str, list[str]] = {}
        there = (each for each in _priorities(question, card) if each.name not in card.rules.lacks_backends)
        for candidate in there:
            why = reasons(candidate, question, card)
            if not why:
                chosen = candidate
                break
            rejected[candidate.name] = why
        else:
            texts = ", ".join(f"{name}: [{', '.join(why)}]" for name, why in rejected.items())
            raise StartRefusedError(
                f"No valid attention backend found for cuda with {_described(question, card)}. Reasons: {{{texts}}}."
            )
    _refuse_fp8_on_old_card(chosen, question, card)
    return chosen


def _described(question: LayerRequest, card: AttentionCard) -> str:
    kind = question.attention_type.upper()
    rules = card.rules
    window = f"has_sliding_window={question.sliding}, " if rules.describes_windows else ""
    rest = f", use_adaptive_verification=False, use_pcp=False, use_dcp={card.dcp}, use_rswa=False"
    return (
        f"AttentionSelectorConfig(head_size={question.head_size}, dtype=torch.{question.dtype}, "
        f"kv_cache_dtype={question.cache_dtype}, block_size={question.block_size}, use_mla={question.use_mla}, "
        f"has_sink={question.has_sink}, use_sparse={question.use_sparse}, use_mm_prefix={_mm_prefix(question, card)}, "
        f"use_per_head_quant_scales={question.per_head_scales}, attn_type=AttentionType.{kind}, "
        f"{window}use_non_causal=False, use_batch_invariant=False, "
        f"use_kv_connector=False{rest if rules.describes_windows else ''})"
    )


def _mm_prefix(question: LayerRequest, card: AttentionCard) -> bool:
    return card.mm_prefix and not question.use_mla


def _refuse_fp8_on_old_card(chosen: AttentionBackend, question: LayerRequest, card: AttentionCard) -> None:
    """Triton's implementations look at the card only once they are built."""
    kernels = {"TRITON_ATTN": "Triton attention", "TRITON_MLA": "Triton MLA"}
    kernel = kernels.get(chosen.name)
    if kernel is None or question.cache_dtype not in b.FP8_PREFIXED or card.capability >= (8, 9):
        return
    capability = f"{card.capability[0]}.{card.capability[1]}"
    suggested = "bfloat16" if card.capability >= (8, 0) else "float16"
    raise StartRefusedError(
        f"FP8 KV cache is not supported by the {kernel} backend on {card.name} (compute capability {capability}); "
        f"native FP8 (fp8e4nv) requires SM89+. Re-run with --kv-cache-dtype {suggested}."
    )


def _priorities(question: LayerRequest, card: AttentionCard) -> tuple[AttentionBackend, ...]:
    if not question.use_mla:
        common = (b.FLASH_ATTN, b.FLASHINFER, b.TRITON_ATTN, b.FLEX_ATTENTION, b.TURBOQUANT)
        if card.family == 10:
            first = (b.TRITON_FLASHINFER,) if _mm_prefix(question, card) else ()
            return (*first, b.FLASHINFER, b.FLASH_ATTN, *common[2:])
        return (*((b.TRITON_FLASH_ATTN,) if card.family == 9 and _mm_prefix(question, card) else ()), *common)
    if card.family == 10:
        flashinfer_first = is_quantised(question.cache_dtype) or (question.q_heads or 0) <= 16
        sparse = (b.FLASHINFER_MLA_SPARSE, b.FLASHMLA_SPARSE)
        return (
            b.FLASHINFER_MLA, b.TOKENSPEED_MLA, b.CUTLASS_MLA, b.FLASH_ATTN_MLA, b.FLASHMLA, b.TRITON_MLA,
            *(sparse if flashinfer_first else reversed(sparse)),
        )  # fmt: skip
    if card.family == 12:
        return (b.TRITON_MLA, b.FLASHINFER_MLA_SPARSE_SM120)
    tail = [b.FLASH_ATTN_MLA_SPARSE, b.FLASHMLA_SPARSE]
    tail.insert(0 if question.head_size == 512 else len(tail), b.FLASHINFER_MLA_SPARSE_SM90)
    return (b.FLASH_ATTN_MLA, b.FLASHMLA, b.FLASHINFER_MLA, b.TRITON_MLA, *tail)


def reasons(backend: AttentionBackend, question: LayerRequest, card: AttentionCard) -> list[str]:
    """Why the backend cannot serve the layer; empty when it can."""
    mm_prefix = _mm_prefix(question, card)
    checks = (
        (_takes_head(backend, question.head_size, card), "head_size not supported"),
        (question.dtype in backend.model_dtypes, "dtype not supported"),
        (_takes_cache_dtype(backend, question.cache_dtype, card), "kv_cache_dtype not supported"),
        (takes_block(backend, question.block_size), "block_size not supported"),
        (not mm_prefix or _takes_mm_prefix(backend, card), "partial multimodal token full attention not supported"),
        (question.use_mla == backend.mla, "MLA not supported" if question.use_mla else "non-MLA not supported"),
        (not question.has_sink or _takes_sinks(backend, card), "attention sinks not supported"),
        (
            question.use_sparse == backend.sparse,
            "sparse not supported" if question.use_sparse else "non-sparse not supported",
        ),
        (not question.per_head_scales or _takes_scales(backend, card), "per-head quant scales not supported"),
        (_takes_card(backend, card), "compute capability not supported"),
        (
            question.attention_type == "decoder" or question.attention_type in backend.non_decoder,
            f"attention type {question.attention_type} not supported",
        ),
        (not question.sliding or backend.sliding, "sliding window not supported"),
        (not card.dcp or backend.dcp, "DCP not supported"),
    )
    why = [text for passed, text in checks if not passed]
    combination = _combination(backend, question, card)
    return [*why, combination] if combination else why


def takes_block(backend: AttentionBackend, block_size: int | None) -> bool:
    """Whether a block of this many tokens can be cut into the backend's pages."""
    return block_size is None or any(block_size % page == 0 for page in backend.pages)


def _takes_head(backend: AttentionBackend, head_size: int, card: AttentionCard) -> bool:
    if backend.name == "FLASH_ATTN":
        return head_size % 8 == 0 and (head_size <= 256 or (fa.is_supported(4, card) and head_size <= 512))
    if backend.name == "TRITON_ATTN":
        return head_size >= 32
    return not backend.head_sizes or head_size in backend.head_sizes


def _takes_cache_dtype(backend: AttentionBackend, dtype: str, card: AttentionCard) -> bool:
    if backend.name == "FLASHINFER" and dtype.startswith("nvfp4"):
        # On data-centre Blackwell the name's beginning is all that vLLM looks at.
        return dtype == "nvfp4" if card.family in (8, 9, 12) else card.family == 10
    if dtype not in backend.cache_dtypes:
        return False
    if backend.name in ("FLASH_ATTN", "TRITON_FLASH_ATTN") and dtype not in NATIVE:
        return fa.takes_dtype(dtype, card)
    return True


def _takes_mm_prefix(backend: AttentionBackend, card: AttentionCard) -> bool:
    return fa.is_supported(4, card) if backend.name == "FLASH_ATTN" else backend.mm_prefix


def _takes_sinks(backend: AttentionBackend, card: AttentionCard) -> bool:
    if backend.name == "FLASH_ATTN":
        return fa.version(card) in (3, 4)
    if backend.name == "FLASHINFER":
        # TRT-LLM decode kernels: Hopper, data-centre and consumer Blackwell.
        return card.capability == (9, 0) or card.family in (10, 12)
    return backend.sinks


def _takes_scales(backend: AttentionBackend, card: AttentionCard) -> bool:
    return backend.per_head_scales and (fa.version(card) or 0) >= 3


def _takes_card(backend: AttentionBackend, card: AttentionCard) -> bool:
    if backend.name == "FLASH_ATTN":
        return card.capability >= (8, 0)
    if backend.name == "FLASHINFER":
        return (8, 0) <= card.capability <= (12, 1)
    return not backend.families or card.family in backend.families


def _combination(backend: AttentionBackend, question: LayerRequest, card: AttentionCard) -> str | None:
    match backend.name:
        case "FLASH_ATTN":
            return _flash_attn_combination(question, card, mm_prefix=_mm_prefix(question, card))
        case "FLASHINFER":
            if question.cache_dtype.startswith("nvfp4") and card.family in (8, 9, 12):
                if question.head_size == 64:
                    return "fa2 prefill misreads an NVFP4 KV cache at head_size 64"
                if question.has_sink:
                    return "the sink prefill wrapper cannot read an NVFP4 KV cache"
            return None
        case "TRITON_FLASH_ATTN":
            why = _flash_attn_combination(question, card, mm_prefix=False)
            heads = Heads(question.head_size, sinks=question.has_sink, block_size=question.block_size, hd256=True)
            if why is None and fa.version(card, heads) not in (3, 4):
                why = "causal route requires FlashAttention v3 or v4"
            return None if why is None else f"FLASH_ATTN: {why}"
    return latent_reason(backend, question, card) if backend.mla else None


def _flash_attn_combination(question: LayerRequest, card: AttentionCard, *, mm_prefix: bool) -> str | None:
    if question.has_sink and card.capability < (9, 0):
        return "sink not supported on compute capability < 9.0"
    quantised = is_quantised(question.cache_dtype)
    if mm_prefix and quantised and card.capability == (9, 0):
        return "SM90 FP8 KV with mm_prefix requires Triton"
    size = question.head_size
    heads = Heads(size, size, sinks=question.has_sink, block_size=question.block_size, hd256=True)
    if quantised and not fa.takes_dtype(question.cache_dtype, card, heads):
        return "FP8 KV cache requires FA3 on SM90, FA4 with head_size=512 on SM90, or FA4 on SM100"
    heads = Heads(size, sinks=question.has_sink, block_size=question.block_size, hd256=True)
    if mm_prefix and fa.version(card, heads) != 4:
        return (
            "mm_prefix (PrefixLM bidirectional attention) requires FlashAttention v4, which does not resolve for this "
            "head_size"
        )
    return None
