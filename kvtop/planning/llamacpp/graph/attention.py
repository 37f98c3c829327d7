"""The attention half of a block (`build_attn`, `build_attn_mha`, src/llama-graph.cpp, b11434)."""

from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.flash_attention import cuda_fuses
from kvtop.planning.llamacpp.graph.graph import Resident, Tensor
from kvtop.planning.llamacpp.graph.model_blocks import Block, turns_by_position
from kvtop.planning.llamacpp.graph.tensors import agreed
from kvtop.planning.llamacpp.graph.walk import F32, Walk, Weights
from kvtop.planning.llamacpp.memory.attention_scratch import Attention, scratch_bytes

Heads = tuple[Tensor, Tensor | None]
"""What the heads give, and the rotation that undoes the one of a quantised value cache."""
_F16 = 2


def attention(walk: Walk, block: Block, x: Tensor) -> Heads:
    """From the normalised input to what the heads give, before the output matrix."""
    weights, hparams, layer = block.weights, walk.hparams, block.index
    head_k, head_v = hparams.n_embd_head_k[layer], hparams.n_embd_head_v[layer]
    heads, heads_kv = hparams.n_head[layer], hparams.n_head_kv[layer]
    query_bytes = heads * head_k * walk.rows * F32
    rotations = _rotations(walk, layer)
    gate: Tensor | None = None
    key: Tensor | None = None
    value: Tensor | None = None
    if "attn_kv_b" in weights:
        query, key, value = _expanded(walk, block, x)
    elif "attn_qkv" in weights:
        fused = walk.linear(weights, "attn_qkv", x)
        query = walk.graph.compute(query_bytes, (fused,))
        key = walk.graph.compute(heads_kv * head_k * walk.rows * F32, (fused,))
        value = fused
    else:
        full = walk.linear(weights, "attn_q", x)
        query = _positioned(walk, block, full, "attn_q_norm", query_bytes)
        if full.size_bytes > query_bytes:
            gate = full
        if hparams.traits.scales_query_by_position:
            turns, scale = turns_by_position(hparams, layer), walk.inputs.attention_scale
            # Normalised, or scaled in layers without positions.
            sources = (query,) if turns or scale is None else (query, scale)
            query = walk.graph.compute(query_bytes, sources, int(turns))
        if hparams.traits.scales_query:
            query = walk.alter(query)
        query = rotated(walk, query, rotations[0])
        if hparams.has_kv(layer) and "attn_k" in weights:
            order = (_key, _value) if hparams.traits.key_before_value else (_value, _key)
            made = {make: make(walk, block, x) for make in order}
            key, value = made[_key], made[_value]
    caches = _caches(walk, block)
    inputs = walk.inputs
    if key is not None and value is not None:
        if inputs.key_slots is None or inputs.value_slots is None:
            return _uncached(walk, block, query, key, value), None
        slots = inputs.key_slots, inputs.value_slots
        if hparams.is_swa[layer] and inputs.window_slots is not None:
            slots = inputs.window_slots
        walk.graph.store(caches[0], (key, slots[0]))
        walk.graph.store(caches[1], (value, slots[1]))
    out = _attend(walk, block, query, caches, (heads, head_v))
    if gate is not None:
        out = rotated(walk, out, rotations[1])
        opening = walk.alter(walk.graph.compute(out.size_bytes, (gate,)))
        return walk.graph.compute(out.size_bytes, (opening, out), 1), None
    return out, rotations[1]


def _expanded(walk: Walk, block: Block, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of latent attention without absorbed matrices: every head has its own key again.

    MiniCPM 3, and DeepSeek 2 in files from before key_length_mla.
    """
    weights, hparams, graph, layer = block.weights, walk.hparams, walk.graph, block.index
    per_value = hparams.n_head[layer] * walk.rows * F32
    turn_key, turn_value = _rotations(walk, layer)
    if "attn_q_a" in weights:
        query = walk.linear(
            weights, "attn_q_b", walk.norm(weights, "attn_q_a_norm", walk.linear(weights, "attn_q_a", x))
        )
    else:
        query = walk.linear(weights, "attn_q", x)
    query = rotated(walk, _turned(walk, block, query, query.size_bytes, 0), turn_key)
    both = walk.linear(weights, "attn_kv_a_mqa", x)
    latent = walk.norm(weights, "attn_kv_a_norm", both, hparams.n_lora_kv * walk.rows * F32)
    pairs = walk.linear(weights, "attn_kv_b", latent)
    value = rotated(walk, graph.compute(hparams.n_embd_head_v[layer] * per_value, (pairs,)), turn_value)
    shared = _turned(walk, block, both, hparams.n_rot * walk.rows * F32, 0)
    shared = graph.compute(hparams.n_rot * per_value, (shared,))
    key = graph.compute(hparams.n_embd_head_k[layer] * per_value, (pairs, shared))
    return query, rotated(walk, key, turn_key), value


def projected(walk: Walk, weights: Weights, heads: Heads) -> Tensor:
    """The output matrix over what the heads give."""
    return walk.linear(weights, "attn_output", rotated(walk, *heads))


def _rotations(walk: Walk, layer: int) -> tuple[Tensor | None, Tensor | None]:
    return walk.inputs.window_rotations if walk.hparams.is_swa[layer] else walk.inputs.rotations


def _positioned(walk: Walk, block: Block, x: Tensor, norm: str, size_bytes: int) -> Tensor:
    """Normalised per head where the model does that, and rotated by position."""
    weights = block.weights
    turns = turns_by_position(walk.hparams, block.index)
    # Heads are views of the product, and a view's memory is never taken over.
    if norm not in weights:
        if not turns and x.size_bytes == size_bytes:
            return x
        return _turned(walk, block, x, size_bytes, 0)
    whole = weights[norm].columns * walk.rows * F32 == x.size_bytes
    x = walk.norm(weights, norm, x, 0 if whole else size_bytes)
    if not turns:
        return x
    return _turned(walk, block, x, x.size_bytes, 0 if whole else 1)


def _turned(walk: Walk, block: Block, x: Tensor, size_bytes: int, reuse: int) -> Tensor:
    turned = walk.graph.compute(size_bytes, (x, walk.inputs.positions), reuse)
    if block.rope_factors is not None:
        turned.reads = (block.rope_factors,)
    return turned


def _key(walk: Walk, block: Block, x: Tensor) -> Tensor:
    key = walk.linear(block.weights, "attn_k", x)
    key = _positioned(walk, block, key, "attn_k_norm", key.size_bytes)
    if walk.hparams.traits.scales_query_by_position and turns_by_position(walk.hparams, block.index):
        key = walk.alter(key)
    return rotated(walk, key, _rotations(walk, block.index)[0])


def _value(walk: Walk, block: Block, x: Tensor) -> Tensor:
    weights = block.weights
    # Where the file has no values, the keys serve (Gemma 4).
    value = walk.linear(weights, "attn_v" if "attn_v" in weights else "attn_k", x)
    if walk.hparams.traits.normalises_value:
        value = walk.graph.compute(value.size_bytes, (value,))
    return rotated(walk, value, _rotations(walk, block.index)[1])


def rotated(walk: Walk, x: Tensor, rotation: Tensor | None) -> Tensor:
    """Quantised caches hold values turned by a Hadamard matrix."""
    return x if rotation is None else walk.graph.compute(x.size_bytes, (rotation, x))


def cells_of(walk: Walk, layer: int) -> int:
    """Cells of one stream that the layer attends to."""
    return walk.context.swa_cells if walk.hparams.is_swa[layer] else walk.context.n_ctx_seq


def _caches(walk: Walk, block: Block) -> tuple[Resident, Resident]:
    context, hparams, layer = walk.context, walk.hparams, block.index
    rows = cells_of(walk, layer) * context.n_stream
    key = CACHE_TYPES[context.type_k].row_bytes(hparams.n_embd_k_gqa(layer)) * rows
    width = hparams.n_embd_v_gqa(layer)
    value = CACHE_TYPES[context.type_v].row_bytes(width) * rows
    return Resident(key, block.cache_home), Resident(value, block.cache_home)


def _attend(
    walk: Walk, block: Block, query: Tensor, caches: tuple[Resident, Resident], shape: tuple[int, int]
) -> Tensor:
    hparams, layer = walk.hparams, block.index
    heads, head_v = shape
    mask = agreed(walk.inputs.window_mask if hparams.is_swa[layer] else walk.inputs.mask, layer, "a cache of keys")
    return attend(
        walk,
        query,
        mask,
        caches,
        block=block,
        heads=heads,
        head_v=head_v,
        cells=cells_of(walk, layer),
        widths=(hparams.n_embd_k_gqa(layer), hparams.n_embd_v_gqa(layer)),
        softcap=bool(hparams.f_attn_logit_softcapping),
        turned_bytes=0 if walk.value_transposed else caches[1].size_bytes,
    )


def attend(
    walk: Walk,
    query: Tensor,
    mask: Tensor,
    caches: tuple[Resident, ...],
    *,
    block: Block,
    heads: int,
    head_v: int,
    cells: int,
    widths: tuple[int, int],
    softcap: bool = False,
    turned_bytes: int = 0,
) -> Tensor:
    """Fused attention, or scores, softmax and a product."""
    graph, context = walk.graph, walk.context
    size_bytes = heads * head_v * walk.rows * F32
    if context.flash_attention:
        return _fused(walk, block, (query, mask), caches, (size_bytes, cells * context.n_stream, *widths), heads)
    values = caches[-1:]
    sources: tuple[Tensor, ...] = ()
    if turned_bytes:
        # The cache was laid out for fused attention: its values are turned first.
        sources = (graph.read(turned_bytes, values, ()),)
        values = ()
    scores = graph.read(cells * heads * walk.rows * F32, caches[:1], (query,))
    if softcap:
        scores = walk.alter(walk.alter(walk.alter(scores)))
    scores = graph.compute(scores.size_bytes, (scores, mask), 1)
    out = graph.read(size_bytes, values, (*sources, scores))
    out = graph.compute(size_bytes, (out,))
    if walk.cache_on_host:
        out.device = graph.host
    graph.expand()
    return out


def _fused(
    walk: Walk,
    block: Block,
    asked: tuple[Tensor, Tensor],
    caches: tuple[Resident, ...],
    shape: tuple[int, int, int, int],
    heads: int,
) -> Tensor:
    """`asked`: query and mask. `shape`: bytes of the result, rows of the caches, widths of their rows."""
    graph, context = walk.graph, walk.context
    size_bytes, rows, *widths = shape
    types = (context.type_k, context.type_v)[: len(caches)]
    if "f32" not in types:
        out = graph.read(size_bytes, caches, asked)
    else:
        # The graph itself converts f32 caches, one tensor each.
        sources = [
            graph.read(width * rows * _F16, (cache,), ())
            for cache, width, kind in zip(caches, widths, types, strict=False)
            if kind == "f32"
        ]
        kept = [cache for cache, kind in zip(caches, types, strict=True) if kind != "f32"]
        out = graph.read(size_bytes, kept, (*asked, *sources))
    out.reads_after, out.host_only = 1, not cuda_fuses(walk.hparams, block.index, types)
    graph.fused.append((out, block.home))
    if walk.hparams.build.converts_in_buffer:
        heads_kv = max(walk.hparams.n_head_kv[block.index], 1)
        out.gpu_bytes = scratch_bytes(
            graph.scratch, Attention(rows, widths, types, heads, heads_kv, size_bytes, walk.rows, context.n_stream)
        )
    graph.expand()
    return out


def _uncached(walk: Walk, block: Block, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of a whole batch at once (encoders): keys and values are copied to f16, or scored directly."""
    graph, hparams, layer = walk.graph, walk.hparams, block.index
    heads, heads_kv, head_v = hparams.n_head[layer], hparams.n_head_kv[layer], hparams.n_embd_head_v[layer]
    mask = agreed(walk.inputs.window_mask if hparams.is_swa[layer] else walk.inputs.mask, layer, "a cache of keys")
    size_bytes = heads * head_v * walk.rows * F32
    if walk.context.flash_attention:
        key = graph.compute(key.size_bytes // 2, (key,))
        value = graph.compute(heads_kv * head_v * walk.rows * _F16, (value,))
        out = graph.compute(size_bytes, (query, key, value, mask))
        out.host_only = not cuda_fuses(hparams, layer, ())
        graph.fused.append((out, block.home))
        return out
    value = graph.compute(heads_kv * head_v * walk.rows * F32, (value,))
    scores = graph.compute(heads * walk.rows * walk.rows * F32, (key, query))
    scores = graph.compute(scores.size_bytes, (scores, mask), 1)
    out = graph.compute(size_bytes, (value, scores))
    return graph.compute(size_bytes, (out,))
