"""Backends, block size and finally the spec of every cached layer.

Source: vLLM 0.32.0, `layers/attention/*.py` (`get_kv_cache_spec`), `v1/worker/gpu/attn_utils.py`,
`v1/attention/backends/utils.py` (`get_supported_kv_cache_layouts`).
"""

from dataclasses import dataclass

from kvtop.planning.vllm.backends import cuda as b
from kvtop.planning.vllm.backends.block_size import BlockChoice, RankShape, choose_block_size, pages_of
from kvtop.planning.vllm.backends.cuda import AttentionBackend, PoolLayout
from kvtop.planning.vllm.backends.flash_attention import AttentionCard, Heads
from kvtop.planning.vllm.backends.layer_request import LayerRequest, MlaShape
from kvtop.planning.vllm.backends.selection import choose
from kvtop.planning.vllm.dtypes import DS_MLA_BYTES, TURBOQUANT_BITS, is_quantised, token_cell
from kvtop.planning.vllm.models.cached_layers import CachedLayer
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.layer_specs import LayerSpec, SpecKind


@dataclass(frozen=True, slots=True)
class AssignTerms:
    """What the choice of backends needs besides the layers."""

    card: AttentionCard
    shape: RankShape
    mla: MlaShape
    cache_dtype: str
    skip_layers: tuple[str, ...] = ()
    user_block: int | None = None
    forced: AttentionBackend | None = None
    per_head_scales: bool = False
    state_block_tokens: int | None = None
    """Tokens per block of recurrent state where prefix caching is off; None: as the attention's."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """`cache_dtype` is the type that is really stored; `backends` in layer order, without recurrent layers."""

    specs: tuple[LayerSpec, ...]
    backends: tuple[AttentionBackend, ...]
    block_size: int
    cache_dtype: str


def assign(layers: tuple[CachedLayer, ...], terms: AssignTerms) -> Assignment:
    """The specs of all layers.

    Raises:
        RefusedError: no backend takes a layer, or the backends share no layout or block size.
    """
    chosen: dict[LayerRequest, AttentionBackend] = {}
    picks: list[tuple[AttentionBackend, str] | None] = []
    stored = terms.cache_dtype
    for layer in layers:
        if layer.kind is SpecKind.MAMBA or layer.fixed is not None:
            picks.append(None)
            continue
        if layer.is_indexer:
            picks.append((b.INDEXER, "auto"))
            continue
        native = layer.native_only or _skipped(layer, terms.skip_layers)
        dtype = "auto" if native else terms.cache_dtype
        # Chunked layers pick their backend before they look at the layers to skip.
        asked = terms.cache_dtype if layer.kind is SpecKind.CHUNKED else dtype
        question = _question(layer, asked, terms)
        if question not in chosen:
            chosen[question] = choose(question, terms.card, terms.forced)
        backend = chosen[question]
        _refuse_kernel(layer, backend, dtype, terms.card)
        dtype = _canonical(backend, dtype)
        if dtype != terms.cache_dtype and layer.sparse:
            stored = dtype
        picks.append((backend, dtype))
    distinct = tuple(dict.fromkeys(pick[0] for pick in picks if pick is not None))
    _check_layouts(distinct, terms.card)
    choice = choose_block_size(
        distinct,
        terms.card,
        terms.shape,
        user_block=terms.user_block,
        skips_layers=bool(terms.skip_layers),
    )
    made: dict[tuple[object, ...], LayerSpec] = {}
    specs: list[LayerSpec] = []
    for layer, pick in zip(layers, picks, strict=True):
        if layer.fixed is not None:
            specs.append(layer.fixed)
            continue
        key = (_shape_key(layer), pick)
        if key not in made:
            made[key] = _state_spec(layer, choice, terms) if pick is None else _spec(layer, *pick, choice, terms)
        specs.append(made[key])
    stated = [layer.fixed.block_size for layer in layers if layer.fixed is not None]
    return Assignment(tuple(specs), distinct, min(stated, default=choice.block_size), stored)


def _refuse_kernel(layer: CachedLayer, backend: AttentionBackend, dtype: str, card: AttentionCard) -> None:
    """What a backend's implementation refuses once it is chosen."""
    if layer.has_alibi and backend is b.FLASH_ATTN and is_quantised(dtype):
        raise StartRefusedError("FlashAttention does not support fp8 kv-cache on this device.")
    if backend is b.TURBOQUANT and dtype == "auto":
        presets = ", ".join(TURBOQUANT_BITS)
        raise StartRefusedError(f"Unknown TurboQuant cache dtype: 'auto'. Valid presets: {presets}")
    if card.dcp and backend is b.FLASHMLA_SPARSE and not is_quantised(dtype):
        raise StartRefusedError(
            "DCP for FlashMLA sparse requires an fp8_ds_mla kv-cache; the bf16 sparse path is not supported under DCP."
        )


def _shape_key(layer: CachedLayer) -> tuple[object, ...]:
    return (
        layer.kind,
        layer.kv_heads,
        layer.head_size,
        layer.head_size_v,
        layer.window,
        layer.chunk,
        layer.state_bytes,
        layer.cell_bytes,
    )


def _question(layer: CachedLayer, dtype: str, terms: AssignTerms) -> LayerRequest:
    latent = layer.kind is SpecKind.MLA
    return LayerRequest(
        head_size=layer.head_size,
        dtype=terms.shape.model_dtype,
        cache_dtype=dtype,
        block_size=terms.user_block,
        use_mla=latent,
        has_sink=layer.has_sink,
        use_sparse=layer.sparse,
        per_head_scales=terms.per_head_scales,
        attention_type=layer.attention_type,
        sliding=layer.window is not None and layer.kind is SpecKind.SLIDING,
        q_heads=terms.shape.q_heads,
        mla=terms.mla if latent else MlaShape(),
    )


def _skipped(layer: CachedLayer, skip_layers: tuple[str, ...]) -> bool:
    if not skip_layers or layer.kind is SpecKind.MLA:
        return False
    return str(layer.index) in skip_layers or (layer.window is not None and "sliding_window" in skip_layers)


def _canonical(backend: AttentionBackend, dtype: str) -> str:
    """Sparse latent backends store FP8 in a packed format (`_canonicalize_sparse_mla_kv_cache_dtype`)."""
    if backend is b.FLASHMLA_SPARSE and is_quantised(dtype):
        return dtype if dtype == "nvfp4_ds_mla" else "fp8_ds_mla"
    if backend is b.FLASHINFER_MLA_SPARSE_SM120 and dtype in ("auto", "fp8", "fp8_e4m3"):
        return "fp8_ds_mla"
    return dtype


def _layouts(backend: AttentionBackend, card: AttentionCard) -> tuple[PoolLayout, ...] | None:
    if backend is b.FLASHINFER:
        return (PoolLayout.LBHNC, PoolLayout.BLHNC) if card.family == 10 else None
    return backend.layouts


def _check_layouts(backends: tuple[AttentionBackend, ...], card: AttentionCard) -> None:
    declared = [layouts for backend in backends if (layouts := _layouts(backend, card)) is not None]
    if not declared or any(all(layout in layouts for layouts in declared) for layout in declared[0]):
        return
    names = [[layout.value for layout in layouts] for layouts in declared]
    raise StartRefusedError(f"No KV cache layout satisfies every supported set: {names}.")


def _state_spec(layer: CachedLayer, choice: BlockChoice, terms: AssignTerms) -> LayerSpec:
    return LayerSpec(
        SpecKind.MAMBA,
        terms.state_block_tokens or choice.block_size,
        layer.state_bytes,
        page_padded=choice.state_page_bytes,
        prefill_checkpoints=layer.prefill_checkpoints,
        dcp_sharded=False,
    )


def _spec(
    layer: CachedLayer, backend: AttentionBackend, dtype: str, choice: BlockChoice, terms: AssignTerms
) -> LayerSpec:
    if layer.is_indexer:
        return LayerSpec(SpecKind.MLA, choice.block_size, layer.cell_bytes, storage="indexer", role="indexer")
    size, size_v = layer.head_size, layer.head_size_v
    native = terms.shape.model_dtype if dtype == "auto" else dtype
    cell = token_cell(dtype, terms.shape.model_dtype, size, size_v, backend.packing)
    cell_bytes = DS_MLA_BYTES.get(dtype, cell.slot_bytes) if layer.kind is SpecKind.MLA else cell.slot_bytes
    slots = layer.kv_heads * cell.slots_per_head
    spec = LayerSpec(
        layer.kind, choice.block_size, cell_bytes, slots, layer.kv_heads, size, size_v, native,
        window=layer.window, chunk=layer.chunk, stride_rows=backend.stride_rows,
    )  # fmt: skip
    if layer.kind is SpecKind.SLIDING:
        pages = pages_of(backend, terms.card, terms.shape, Heads(size, size_v), dtype)
        return _windowed(spec, pages, choice, exact=backend.exact_pages or pages is not backend.pages)
    return spec


def _windowed(spec: LayerSpec, pages: tuple[int, ...], choice: BlockChoice, *, exact: bool) -> LayerSpec:
    """A windowed layer takes the largest kernel block within the page of the others, whatever `--block-size` says."""
    per_token = spec.head_slots * spec.state_bytes
    budget = choice.skip_page_bytes or per_token * choice.block_size
    fitting = budget // per_token
    if exact:
        candidates = [page for page in pages if page <= fitting]
    else:
        candidates = [fitting // page * page for page in pages if page <= fitting]
    return LayerSpec(
        spec.kind, max(candidates, default=min(pages)), spec.state_bytes, spec.head_slots, spec.kv_heads,
        spec.head_size, spec.head_size_v, spec.storage, spec.window, page_padded=choice.skip_page_bytes,
        dcp_sharded=spec.dcp_sharded,
    )  # fmt: skip
