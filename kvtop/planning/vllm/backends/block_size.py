"""The tokens per block: what backends prefer, what recurrent state and mixed precision force.

Source: vLLM 0.32.0, `platforms/interface.py` (`update_block_size_for_backend`, `_preferred_block_size_for_backends`,
`_align_hybrid_block_size`, `_align_heterogeneous_kv_block_size`, `_check_aligned_block_size`).
"""

import itertools
import math
from dataclasses import dataclass

from kvtop.planning.vllm.backends import flash_attention as fa
from kvtop.planning.vllm.backends.cuda import AttentionBackend
from kvtop.planning.vllm.backends.flash_attention import AttentionCard, Heads
from kvtop.planning.vllm.dtypes import Packing, token_cell
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.layer_specs import ceil_div

DEFAULT_BLOCK_TOKENS = 16
LARGE_PAGES = (16, 32, 64, 128, 256, 512, 1024)
"""FlashInfer's pages where the TRT-LLM kernels of data-centre Blackwell serve grouped queries."""


@dataclass(frozen=True, slots=True)
class RankShape:
    """The model on one rank, as the platform sees it before it asks any layer.

    `state_bytes`: the largest recurrent state of a layer, 0 without one.
    """

    kv_heads: int
    q_heads: int
    head_size: int
    model_dtype: str
    use_mla: bool
    is_hybrid: bool
    state_bytes: int


@dataclass(frozen=True, slots=True)
class BlockChoice:
    """`skip_page_bytes`: the page that windowed layers pad up to where several precisions share the pool."""

    block_size: int
    state_page_bytes: int | None
    skip_page_bytes: int | None


def pages_of(
    backend: AttentionBackend, card: AttentionCard, shape: RankShape, heads: Heads | None, cache_dtype: str
) -> tuple[int, ...]:
    """Pages that the backend's kernels take; `heads` None asks for the model as a whole."""
    if backend.name == "FLASH_ATTN":
        asked = Heads(shape.head_size) if heads is None else heads
        page = fa.page_tokens(card, card.run_dtype if heads is None else cache_dtype, asked)
        return (page,) if page is not None else backend.pages
    if backend.name == "FLASHINFER":
        grouped = shape.q_heads // shape.kv_heads > 1 and shape.q_heads % shape.kv_heads == 0
        return LARGE_PAGES if card.family == 10 and grouped else backend.pages
    return backend.pages


def choose_block_size(
    backends: tuple[AttentionBackend, ...],
    card: AttentionCard,
    shape: RankShape,
    *,
    user_block: int | None,
    skips_layers: bool,
) -> BlockChoice:
    """The block size of the pool. `backends`: the distinct ones of the attention layers, in layer order.

    Raises:
        RefusedError: the backends share no block size.
    """
    if not backends:
        return BlockChoice(user_block or DEFAULT_BLOCK_TOKENS, None, None)
    pages = {backend.name: pages_of(backend, card, shape, None, card.run_dtype) for backend in backends}
    block = _preferred(backends, pages) if user_block is None else user_block
    before, state_page, skip_page = block, None, None
    if shape.is_hybrid and shape.state_bytes:
        block, state_page = _align_state(block, backends, pages, card, shape, skips_layers=skips_layers)
    if skips_layers and card.rules.aligns_precisions:
        block, skip_page = _align_precisions(
            block, backends[0], min(pages[backends[0].name]), card, shape, state_page=state_page
        )
        if skip_page is not None and state_page is not None:
            state_page = skip_page
    rejecting = [name for name, sizes in pages.items() if not any(block % page == 0 for page in sizes)]
    if block != before and rejecting:
        raise StartRefusedError(
            f"Aligned KV cache block size {block} is not supported by attention backend(s): {', '.join(rejecting)}."
        )
    return BlockChoice(block, state_page, skip_page)


def _preferred(backends: tuple[AttentionBackend, ...], pages: dict[str, tuple[int, ...]]) -> int:
    sizes = [pages[backend.name] for backend in backends]
    if all(any(DEFAULT_BLOCK_TOKENS % page == 0 for page in each) for each in sizes):
        return DEFAULT_BLOCK_TOKENS
    if len(backends) == 1:
        return min(sizes[0])
    for candidate in sorted({math.lcm(*combination) for combination in itertools.product(*sizes)}):
        if all(any(candidate % page == 0 for page in each) for each in sizes):
            return candidate
    listed = "; ".join(f"{backend.name}: {list(pages[backend.name])}" for backend in backends)
    raise StartRefusedError(f"The attention backends share no supported KV cache block size ({listed}).")


def _token_bytes(shape: RankShape, dtype: str, packing: Packing) -> int:
    """Bytes of one token in one attention layer of the model as a whole."""
    size_v = 0 if shape.use_mla else shape.head_size
    cell = token_cell(dtype, shape.model_dtype, shape.head_size, size_v, packing)
    return shape.kv_heads * cell.slots_per_head * cell.slot_bytes


def _align_state(
    block: int,
    backends: tuple[AttentionBackend, ...],
    pages: dict[str, tuple[int, ...]],
    card: AttentionCard,
    shape: RankShape,
    *,
    skips_layers: bool,
) -> tuple[int, int | None]:
    """Attention blocks as long as it takes to be no smaller than a recurrent state, and the page both then have."""
    if shape.use_mla:
        per_token = _token_bytes(shape, card.run_dtype, Packing.DENSE)
    elif card.run_dtype.startswith("turboquant_"):
        per_token = _token_bytes(shape, card.run_dtype, Packing.TURBOQUANT)
        if skips_layers:
            per_token = math.lcm(per_token, _token_bytes(shape, "auto", Packing.DENSE))
    else:
        per_token = _token_bytes(shape, card.run_dtype, backends[0].packing)
    alignment = max(min(pages[backends[0].name]), block)
    if shape.use_mla:
        # TRT-LLM's latent kernels want the kernel blocks in multiples of 128 tokens.
        alignment = max(alignment, 128)
    shared = math.lcm(*(min(sizes) for sizes in pages.values()))
    aligned = alignment * ceil_div(shape.state_bytes, alignment * per_token)
    block = max(block, shared * ceil_div(aligned, shared))
    page = block * per_token
    return block, None if page == shape.state_bytes else page


def _align_precisions(
    block: int,
    backend: AttentionBackend,
    smallest: int,
    card: AttentionCard,
    shape: RankShape,
    *,
    state_page: int | None,
) -> tuple[int, int | None]:
    """Blocks of the quantised layers as long as it takes to cover a page of the layers left at the native dtype."""
    primary = _token_bytes(shape, card.run_dtype, backend.packing)
    native = _token_bytes(shape, "auto", backend.packing)
    if native == primary:
        return block, None
    alignment = max(smallest, block)
    required = max(native * smallest, state_page or 0)
    block = max(block, alignment * ceil_div(required, alignment * primary))
    return block, block * primary
