"""A model's whole graph: inputs, blocks, output (`build_graph` of src/models/*.cpp, b11434)."""

from collections.abc import Mapping

from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.architectures import NO_CACHE, RECURRENT
from kvtop.planning.llamacpp.compute_attention import attention, projected
from kvtop.planning.llamacpp.compute_blocks import F32, Indexer, Inputs, Walk, Weights, experts, feed_forward, mixture
from kvtop.planning.llamacpp.compute_gemma import (
    add_per_layer,
    merged_streams,
    per_layer_rows,
    stacked_streams,
    write_gemma3n_block,
)
from kvtop.planning.llamacpp.compute_graph import Graph, Resident, Tensor
from kvtop.planning.llamacpp.compute_latent import latent_attention
from kvtop.planning.llamacpp.compute_layers import Block, Blocks
from kvtop.planning.llamacpp.compute_recurrence import recurrence
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.hparams import HParams

_I32 = 4
_I64 = 8
OFFLOADED_ROWS = 32
"""Rows from which a GPU takes over operations on host weights (`ggml_backend_cuda_device_offload_op`)."""
_NO_MIXED_BATCH = frozenset({"cogvlm", "deepseek4"})
_FOUR_POSITIONS = frozenset({"qwen2vl", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "paddleocr", "hunyuan_vl"})
_NORM_AT_THE_END = frozenset({"lfm2", "lfm2moe"})
_SCALED_TOKENS = frozenset({"gemma", "gemma3", "gemma3n", "gemma4", "gemma-embedding"})
_SCALED_EMBEDDINGS = frozenset({"gemma2", "granite", "granitemoe", "granitehybrid", "grok", "minicpm", "minicpm3"})


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
    rows = _rows(context)
    positions = graph.input(rows * _I32 * (4 if hparams.arch in _FOUR_POSITIONS else 1))
    positions.lasting = True
    tokens, x = _embedded(graph, hparams, blocks, rows)
    embedding_inputs = len(graph.inputs)
    walk = Walk(graph, rows, hparams, context, _inputs(graph, hparams, context, positions, value_transposed))
    x = _placed(walk, blocks.others, x)
    walk.value_transposed, walk.cache_on_host = value_transposed, cache_on_host
    for tensor in graph.inputs[embedding_inputs:]:
        tensor.lasting = True
    if blocks.indexed:
        walk.indexer = _indexer(walk, blocks.indexed)
    if "per_layer_token_embd" in blocks.others:
        walk.per_layer = per_layer_rows(walk, blocks.others, tokens, x)
    streams = "altup_proj" in blocks.others
    if streams:
        x = stacked_streams(walk, blocks.others, x)
    for block in blocks.walked:
        x = write_gemma3n_block(walk, block, x) if streams else write_block(walk, block, x)
    if streams:
        x = merged_streams(walk, blocks.others, x)
    outputs = min(rows, context.n_outputs_max)
    if outputs < rows:
        walk.rows = outputs
        graph.offloads = graph.offloads and outputs >= OFFLOADED_ROWS
        x = walk.values(hparams.n_embd, (x, walk.inputs.out_rows))
    if hparams.arch in NO_CACHE:
        return
    x = walk.norm(blocks.others, "output_norm", x)
    if "output" in blocks.others:
        walk.product(blocks.others["output"], x)


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
    if "token_embd_norm" in others and walk.hparams.arch not in _NORM_AT_THE_END:
        x = walk.norm(others, "token_embd_norm", x)
    return x


def _embedded(graph: Graph, hparams: HParams, blocks: Blocks, rows: int) -> tuple[Tensor, Tensor]:
    """Token rows, and the unused ways in: embeddings given from outside, and batches that mix both."""
    size_bytes = hparams.n_embd * rows * F32
    tokens = graph.input(rows * _I32)
    graph.input(size_bytes)
    table = blocks.others["token_embd"]
    x = graph.weighted(size_bytes, table, (tokens,))
    x.device = table.home
    if hparams.arch not in _NO_MIXED_BATCH:
        given = graph.input(size_bytes)
        slots = graph.input(rows * _I64)
        more = graph.weighted(size_bytes, table, (graph.input(rows * _I32),))
        more.device = table.home
        # Nothing reads the mixed rows, so that they are never freed.
        graph.compute(size_bytes, (given,))
        graph.compute(0, (more, slots))
    if hparams.arch in _SCALED_TOKENS:
        x = graph.compute(size_bytes, (x, graph.input(rows * F32)), 1)
    elif hparams.arch in _SCALED_EMBEDDINGS:
        x = graph.compute(size_bytes, (x,), 1)
    graph.expand()
    return tokens, x


def _inputs(
    graph: Graph, hparams: HParams, context: ResolvedContext, positions: Tensor, value_transposed: bool
) -> Inputs:
    rows = _rows(context)
    cached = hparams.arch not in NO_CACHE
    attends = hparams.arch not in RECURRENT
    per_cell = 2 if context.flash_attention else F32
    key_slots = value_slots = mask = window = None
    window_slots: tuple[Tensor, Tensor] | None = None
    if attends and cached:
        key_slots = graph.input(rows * _I64)
        width = hparams.n_embd_v_gqa_max if value_transposed else 1
        value_slots = graph.input(rows * _I64 * width) if not hparams.is_mla else key_slots
        if any(hparams.is_swa):
            window = graph.input(context.swa_cells * rows * per_cell)
            window_slots = graph.input(rows * _I64), graph.input(rows * _I64 * width)
        mask = graph.input(context.n_ctx_seq * rows * per_cell)
    elif attends:
        mask = graph.input(rows * rows * per_cell)
    recurrent = any(hparams.is_recurrent)
    return Inputs(
        positions,
        key_slots,
        value_slots,
        mask,
        window,
        window_slots,
        graph.input(context.n_seq_max * _I32) if recurrent else None,
        _rotations(graph, hparams, context) if key_slots is not None else (None, None),
        _rotations(graph, hparams, context, window=True) if window is not None else (None, None),
        graph.input(min(rows, context.n_outputs_max) * _I32),
    )


def _rotations(
    graph: Graph, hparams: HParams, context: ResolvedContext, window: bool = False
) -> tuple[Tensor | None, Tensor | None]:
    if hparams.is_mla:
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
        layer: graph.constant(fill, 0 if home == graph.host and graph.offloads else home)
        for layer, home in homes.items()
    }
    return Indexer(graph.input(side * side * F32), graph.input(walk.rows * _I64), mask, constants)


def write_block(walk: Walk, block: Block, x: Tensor) -> Tensor:
    """One block with its residual connections."""
    weights = block.weights
    normed = walk.norm(weights, "attn_norm", x) if "attn_norm" in weights else x
    recurrent = not _STATE.isdisjoint(weights)
    if recurrent and "ssm_d" not in weights and "shortconv.conv" not in weights:
        walk.graph.expand()
    heads = None
    if "attn_kv_a_mqa" in weights and "attn_k_b" in weights:
        heads = latent_attention(walk, block, normed)
    elif "attn_q" in weights or ("attn_qkv" in weights and not recurrent):
        heads = attention(walk, block, normed)
    feeds = "ffn_down" in weights or "ffn_down_exps" in weights
    if heads is not None and feeds and not recurrent and _NORMS_BETWEEN.isdisjoint(weights):
        fed = walk.add(_fed(walk, weights, normed), x)
        return walk.add(fed, projected(walk, weights, heads))
    if recurrent and heads is not None:
        # Falcon H1 normalises once for attention and once for the state.
        normed = walk.norm(weights, "attn_norm", x)
    attended: list[Tensor] = []

    def attend() -> None:
        if heads is not None and not attended:
            attended.append(projected(walk, weights, heads))

    out = recurrence(walk, block, normed, attend) if recurrent else None
    attend()
    if attended:
        out = attended[0] if out is None else walk.add(attended[0], out)
    if out is None:
        return walk.add(_fed(walk, weights, normed), x) if feeds else x
    closing = "post_attention_norm" in weights and ("ffn_norm" in weights or "post_ffw_norm" in weights)
    if closing:
        out = walk.norm(weights, "post_attention_norm", out)
    # What a state's block gives is a view here: only the residual can be overwritten.
    viewed = heads is None and (walk.hparams.arch in _VIEWED or "ssm_d" not in weights or "ssm_x" in weights)
    if viewed and not closing:
        x = walk.graph.compute(x.size_bytes, (x, out), 1)
    else:
        x = _summed(walk, out, x, _RESIDUAL_FIRST_TWICE)
    if "attn_output_norm" in weights:
        x = walk.norm(weights, "attn_output_norm", x)
    return _second_half(walk, weights, x, closing) if feeds else x


def _summed(walk: Walk, out: Tensor, residual: Tensor, residual_first: frozenset[str]) -> Tensor:
    """A residual connection. The first operand's memory is the one taken over."""
    return walk.add(residual, out) if walk.hparams.arch in residual_first else walk.add(out, residual)


_RESIDUAL_FIRST_TWICE = frozenset({"lfm2", "lfm2moe", "jamba", "openelm"})
_RESIDUAL_FIRST = frozenset({"phi3", "lfm2", "lfm2moe", "jamba"})
_VIEWED = frozenset({"lfm2", "lfm2moe"})
_STATE = frozenset({"ssm_in", "ssm_conv1d", "shortconv.conv"})
_NORMS_BETWEEN = frozenset({"ffn_norm", "post_attention_norm", "attn_output_norm", "post_ffw_norm"})


def _second_half(walk: Walk, weights: Weights, x: Tensor, closing: bool) -> Tensor:
    opening = "ffn_norm" if "ffn_norm" in weights else "post_attention_norm"
    split = "pre_ffw_norm_2" in weights
    if split:
        # Gemma 4 with experts: both halves start from the residual.
        router = walk.alter(walk.graph.compute(x.size_bytes, (x,)))
        if "ffn_gate_inp.scale" in weights:
            router = walk.graph.weighted(x.size_bytes, weights["ffn_gate_inp.scale"], (router,), 1)
        residual = x
        sparse = experts(walk, weights, router, lambda: walk.norm(weights, "pre_ffw_norm_2", residual))
        dense = feed_forward(walk, weights, walk.norm(weights, "ffn_norm", x))
        dense = walk.norm(weights, "post_ffw_norm_1", dense)
        out = walk.add(dense, walk.norm(weights, "post_ffw_norm_2", sparse))
    else:
        normed = walk.norm(weights, opening, x) if opening in weights and not (closing and opening[0] == "p") else x
        out = _fed(walk, weights, normed)
    if "post_ffw_norm" in weights:
        out = walk.norm(weights, "post_ffw_norm", out)
    x = _summed(walk, out, x, _RESIDUAL_FIRST)
    if "layer_output_norm" in weights:
        x = walk.norm(weights, "layer_output_norm", x)
    if "inp_gate" in weights and walk.per_layer is not None:
        x = walk.add(x, add_per_layer(walk, weights, x))
    if "layer_output_scale" in weights:
        x = walk.graph.weighted(x.size_bytes, weights["layer_output_scale"], (x,), 1)
    return x


def _fed(walk: Walk, weights: Weights, x: Tensor) -> Tensor:
    return mixture(walk, weights, x) if "ffn_down_exps" in weights else feed_forward(walk, weights, x)
