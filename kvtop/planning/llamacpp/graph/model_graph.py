"""A model's whole graph: inputs, blocks, output (`build_graph` of src/models/*.cpp, b11434)."""

from collections.abc import Mapping

from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.graph.block import narrowed, write_block
from kvtop.planning.llamacpp.graph.gemma import (
    merged_streams,
    per_layer_rows,
    stacked_streams,
    write_gemma3n_block,
)
from kvtop.planning.llamacpp.graph.graph import OFFLOADED_ROWS, Graph, Resident, Tensor
from kvtop.planning.llamacpp.graph.model_blocks import Block, Blocks
from kvtop.planning.llamacpp.graph.rwkv import write_rwkv_blocks
from kvtop.planning.llamacpp.graph.walk import F32, Indexer, Inputs, Walk, Weights
from kvtop.planning.llamacpp.model.hparams import HParams

_F16 = 2
_I32 = 4
_I64 = 8


def write_graph(
    graph: Graph,
    hparams: HParams,
    blocks: Blocks,
    context: ResolvedContext,
    *,
    value_transposed: bool,
    cache_on_host: bool,
) -> None:
    """Write the graph of one full micro-batch."""
    rows = graph.rows = _rows(context)
    traits = hparams.traits
    positions = graph.input(rows * _I32 * max(1, traits.positions))
    if not traits.positions:
        graph.inputs.remove(positions)
    positions.lasting = True
    tokens, x = _embedded(graph, hparams, blocks, rows)
    embedding_inputs = len(graph.inputs)
    walk = Walk(graph, rows, hparams, context, _inputs(graph, hparams, context, positions, value_transposed))
    x = _placed(walk, blocks.others, x)
    walk.value_transposed, walk.cache_on_host = value_transposed, cache_on_host
    # Where every token has an output, logits need more than anything before, and masks are free by then.
    walk.has_last_uses = blocks.has_last_uses or not hparams.build.limits_outputs
    positions.lasting = not walk.has_last_uses
    if not walk.has_last_uses:
        for tensor in graph.inputs[embedding_inputs:]:
            tensor.lasting = True
    if blocks.indexed:
        walk.indexer = _indexer(walk, blocks.indexed)
    if "per_layer_token_embd" in blocks.others:
        walk.per_layer = per_layer_rows(walk, blocks.others, tokens, x)
    x = _through_blocks(walk, blocks, x)
    norm_first = traits.normalises_before_narrowing
    if norm_first:
        x = walk.norm(blocks.others, "output_norm", x)
        # Kept for a prediction head (`t_h_nextn`).
        x.lasting = True
    if not walk.narrowed:
        (x,) = narrowed(walk, x)
    last_norm = next((name for name in ("output_norm", "enc.output_norm") if name in blocks.others), None)
    if last_norm is not None and not norm_first:
        x = walk.norm(blocks.others, last_norm, x)
    if traits.logits == "never" or (context.embeddings and traits.logits == "without_embeddings"):
        return
    if "output" in blocks.others:
        walk.product(blocks.others["output"], x)


def write_prediction(
    graph: Graph,
    hparams: HParams,
    block: Block,
    others: Weights,
    context: ResolvedContext,
    *,
    value_transposed: bool,
    cache_on_host: bool,
) -> None:
    """Write the graph of a prediction block (`--spec-type draft-mtp`), one full micro-batch.

    The target's last state and the next token's embedding, each normalised, joined and projected, then through one
    block to a head that is its own where the file has one.
    """
    rows = graph.rows = _rows(context)
    weights = block.weights
    positions = graph.input(rows * _I32 * max(1, hparams.traits.positions))
    positions.lasting = True
    tokens = graph.input(rows * _I32)
    size_bytes = hparams.n_embd * rows * F32
    state = graph.input(size_bytes)
    table = weights["nextn.embed_tokens"] if "nextn.embed_tokens" in weights else others["token_embd"]
    embedded = graph.weighted(size_bytes, table, (tokens,))
    embedded.device = table.home
    walk = Walk(graph, rows, hparams, context, _inputs(graph, hparams, context, positions, value_transposed))
    walk.value_transposed, walk.cache_on_host, walk.has_last_uses = value_transposed, cache_on_host, True
    state_normed = walk.norm(weights, "nextn.hnorm", state)
    embedded = walk.norm(weights, "nextn.enorm", embedded)
    joined = graph.compute(2 * size_bytes, (embedded, state_normed))
    x = walk.product(weights["nextn.eh_proj"], joined)
    x = write_block(walk, block, x)
    if not walk.narrowed:
        (x,) = narrowed(walk, x)
    norm = "nextn.shared_head_norm" if "nextn.shared_head_norm" in weights else "output_norm"
    x = walk.norm(weights if norm in weights else others, norm, x)
    head = weights.get("nextn.shared_head_head", others.get("output"))
    if head is not None:
        walk.product(head, x)


def _through_blocks(walk: Walk, blocks: Blocks, x: Tensor) -> Tensor:
    if walk.hparams.traits.mixes:
        return write_rwkv_blocks(walk, blocks.walked, x)
    if "altup_proj" in blocks.others:
        x = stacked_streams(walk, blocks.others, x)
        for block in blocks.walked:
            x = write_gemma3n_block(walk, block, x)
        return merged_streams(walk, blocks.others, x)
    for block in blocks.walked:
        x = write_block(walk, block, x)
    return x


def _rows(context: ResolvedContext) -> int:
    """Tokens of a full micro-batch: a whole number for every sequence."""
    return -(-min(context.n_ctx, context.n_ubatch) // context.n_seq_max) * context.n_seq_max


def _placed(walk: Walk, others: Weights, x: Tensor) -> Tensor:
    """Embeddings of token types and positions, and a norm over the sum, in older models and encoders."""
    graph = walk.graph
    places = None
    if "position_embd" in others:
        table = others["position_embd"]
        places = graph.weighted(x.size_bytes, table, (walk.inputs.positions,))
        places.device = table.home
    if "token_types" in others:
        # Through a view of its first row, which nothing takes for a weight: it runs where its neighbours do.
        table = others["token_types"]
        x = graph.read(x.size_bytes, (Resident(x.size_bytes // walk.rows, table.home),), (x,))
        x.reuse, x.host_only = 1, not table.on_gpu
    if places is not None:
        x = walk.add(places, x) if "token_types" in others else walk.add(x, places)
    if "token_embd_norm" in others and walk.hparams.traits.embedding_norm == "first":
        x = walk.norm(others, "token_embd_norm", x)
    return x


def _embedded(graph: Graph, hparams: HParams, blocks: Blocks, rows: int) -> tuple[Tensor, Tensor]:
    """Token rows, and the unused ways in: embeddings given from outside, and batches that mix both."""
    size_bytes = hparams.n_embd * rows * F32
    tokens = graph.input(rows * _I32)
    if hparams.build.takes_embeddings:
        graph.input(size_bytes)
    table = blocks.others["token_embd"]
    x = graph.weighted(size_bytes, table, (tokens,))
    x.device = table.home
    if hparams.traits.takes_mixed_batches:
        given = graph.input(size_bytes)
        slots = graph.input(rows * _I64)
        more = graph.weighted(size_bytes, table, (graph.input(rows * _I32),))
        more.device = table.home
        # Nothing reads the mixed rows, so that they are never freed.
        graph.compute(size_bytes, (given,))
        graph.compute(0, (more, slots))
    if hparams.traits.scales_embedding == "by_token":
        x = graph.compute(size_bytes, (x, graph.input(rows * F32)), 1)
    elif hparams.traits.scales_embedding == "alike":
        x = graph.compute(size_bytes, (x,), 1)
    graph.expand()
    return tokens, x


def _inputs(
    graph: Graph, hparams: HParams, context: ResolvedContext, positions: Tensor, value_transposed: bool
) -> Inputs:
    rows = _rows(context)
    cached = not hparams.traits.attends_uncached
    attends = not hparams.traits.is_recurrent
    key_slots = value_slots = mask = window = None
    window_slots: tuple[Tensor, Tensor] | None = None
    if attends and cached:
        key_slots = graph.input(rows * _I64)
        width = hparams.n_embd_v_gqa_max if value_transposed else 1
        value_slots = graph.input(rows * _I64 * width) if not hparams.is_mla else key_slots
        if any(hparams.is_swa):
            window = _mask(graph, hparams, context.swa_cells * rows, context.flash_attention)
            window_slots = graph.input(rows * _I64), graph.input(rows * _I64 * width)
        if not _slides_only(hparams):
            mask = _mask(graph, hparams, context.n_ctx_seq * rows, context.flash_attention)
    elif attends:
        mask = _mask(graph, hparams, rows * rows, context.flash_attention)
        if hparams.swa_type != "none":
            window = _mask(graph, hparams, rows * rows, context.flash_attention)
    state_rows = graph.input(context.n_seq_max * _I32) if any(hparams.is_recurrent) else None
    return Inputs(
        positions,
        key_slots,
        value_slots,
        mask,
        window,
        window_slots,
        state_rows,
        None if state_rows is None else _state_views(graph, state_rows, context.n_seq_max),
        _rotations(graph, hparams, context) if key_slots is not None else (None, None),
        _rotations(graph, hparams, context, window=True) if window_slots is not None else (None, None),
        graph.input(min(rows, context.n_outputs_max) * _I32),
        graph.input(rows * F32) if hparams.traits.scales_query_by_position else None,
    )


def _mask(graph: Graph, hparams: HParams, cells: int, fused: bool) -> Tensor:
    """A mask as attention reads it: f16 where that is fused. Older builds fill f32 and convert it once."""
    if fused and hparams.build.casts_masks:
        return graph.compute(cells * _F16, (graph.input(cells * F32),))
    return graph.input(cells * (_F16 if fused else F32))


def _state_views(graph: Graph, rows: Tensor, sequences: int) -> tuple[Tensor, Tensor]:
    return graph.part(rows, sequences * _I32), graph.part(rows, (sequences - 1) * _I32)


def _slides_only(hparams: HParams) -> bool:
    """Whether every layer that attends slides a window: nothing reads the whole cache's mask then."""
    return any(hparams.is_swa) and not any(
        heads and not hparams.is_swa[layer] and not hparams.is_recurrent[layer]
        for layer, heads in enumerate(hparams.n_head_kv[: hparams.n_layer])
    )


def _rotations(
    graph: Graph, hparams: HParams, context: ResolvedContext, window: bool = False
) -> tuple[Tensor | None, Tensor | None]:
    if hparams.is_mla or not hparams.build.rotates_caches:
        return None, None
    keys = {
        length
        for layer, length in enumerate(hparams.n_embd_head_k)
        if length and hparams.is_swa[layer] == window and hparams.n_head_kv[layer]
    }
    values = {length for layer, length in enumerate(hparams.n_embd_head_v) if length}
    return (
        _rotation(graph, context.type_k, max(keys, default=0)),
        _rotation(graph, context.type_v, 64 if all(length % 64 == 0 for length in values) else 1),
    )


def _rotation(graph: Graph, cache_type: str, length: int) -> Tensor | None:
    """Quantised caches are turned by a Hadamard matrix: the largest power of two that divides the head length."""
    if not CACHE_TYPES[cache_type].is_quantized or length % 64:
        return None
    side = length & -length
    if not side:
        return None
    return graph.input(side * side * F32)


def _indexer(walk: Walk, homes: Mapping[int, int]) -> Indexer:
    hparams, graph = walk.hparams, walk.graph
    side = hparams.indexer_head_size & -hparams.indexer_head_size
    cells = walk.context.n_ctx_seq
    fill = min(hparams.indexer_top_k, cells) * walk.rows * F32
    # The indexer's mask is f16 even where attention is not fused.
    mask = graph.input(cells * walk.rows * 2)
    constants = {
        layer: graph.constant(
            fill, 0 if home == graph.host and graph.offloads and walk.rows >= OFFLOADED_ROWS else home
        )
        for layer, home in homes.items()
    }
    return Indexer(graph.input(side * side * F32), graph.input(walk.rows * _I64), mask, constants)
