"""Multi-head latent attention and its lightning indexer (src/models/deepseek2.cpp, deepseek32.cpp, b11434)."""

from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.graph.attention import Heads, attend, cells_of, rotated
from kvtop.planning.llamacpp.graph.graph import Resident, Tensor
from kvtop.planning.llamacpp.graph.model_blocks import Block
from kvtop.planning.llamacpp.graph.tensors import agreed
from kvtop.planning.llamacpp.graph.walk import F32, Walk


def latent_attention(walk: Walk, block: Block, x: Tensor) -> Heads:
    """Multi-head latent attention with absorbed matrices: queries as wide as the cached row (deepseek2.cpp)."""
    weights, hparams, graph, rows = block.weights, walk.hparams, walk.graph, walk.rows
    heads, lora, rope = hparams.n_head[block.index], hparams.n_lora_kv, hparams.n_rot
    cells = cells_of(walk, block.index)
    inputs = walk.inputs
    mask = agreed(inputs.mask, block.index, "a cache of keys")
    key_slots = agreed(inputs.key_slots, block.index, "a cache of keys")
    compressed = x
    indexed = "indexer.attn_k" in weights and walk.indexer is not None
    if indexed:
        _indexer_keys(walk, block, x)
    if "attn_q_a" in weights:
        compressed = walk.norm(weights, "attn_q_a_norm", walk.linear(weights, "attn_q_a", x))
        query = walk.linear(weights, "attn_q_b", compressed)
    else:
        query = walk.linear(weights, "attn_q", x)
    absorbed = graph.weighted(lora * heads * rows * F32, weights["attn_k_b"], (query,))
    turned = graph.compute(rope * heads * rows * F32, (query, inputs.positions))
    query = graph.compute((lora + rope) * heads * rows * F32, (absorbed, turned))
    both = walk.linear(weights, "attn_kv_a_mqa", x)
    latent = walk.norm(weights, "attn_kv_a_norm", both, lora * rows * F32)
    key = graph.compute(rope * rows * F32, (both, inputs.positions))
    key = graph.compute((lora + rope) * rows * F32, (latent, key))
    stored = CACHE_TYPES[walk.context.type_k].row_bytes(lora + rope) * cells * walk.context.n_stream
    cache = Resident(stored, block.cache_home)
    graph.store(cache, (key, key_slots))
    if indexed:
        mask = _indexer_mask(walk, block, x, compressed, cells)
    # Values are a part of the key rows: one more view to stage, nothing more to convert.
    caches = cache, Resident(stored, block.cache_home)
    value_bytes = CACHE_TYPES[walk.context.type_k].row_bytes(lora) * cells * walk.context.n_stream
    out = attend(
        walk,
        query,
        mask,
        caches,
        block=block,
        heads=heads,
        head_v=lora,
        cells=cells,
        widths=(lora + rope, lora if walk.context.type_v == "f32" else 0),
        turned_bytes=value_bytes,
    )
    values = hparams.n_embd_head_v_mla * heads * rows * F32
    out = graph.weighted(values, weights["attn_v_b"], (out,))
    return graph.compute(values, (out,)), None


def _indexer_keys(walk: Walk, block: Block, x: Tensor) -> None:
    """The lightning indexer's key row, normalised, turned and cached (deepseek32.cpp)."""
    assert walk.indexer is not None
    weights = block.weights
    key = walk.norm(weights, "indexer.k_norm", walk.linear(weights, "indexer.attn_k", x))
    key = walk.graph.compute(key.size_bytes, (key, walk.inputs.positions))
    key = rotated(walk, key, walk.indexer.rotation)
    walk.graph.store(Resident(0, block.cache_home), (key, walk.indexer.slots))


def _indexer_mask(walk: Walk, block: Block, x: Tensor, compressed: Tensor, cells: int) -> Tensor:
    """Scores of all cells, the best of them, and the mask of attention narrowed to those."""
    indexer = walk.indexer
    assert indexer is not None
    weights, hparams, graph, rows = block.weights, walk.hparams, walk.graph, walk.rows
    query = walk.linear(weights, "indexer.attn_q_b", compressed)
    query = graph.compute(query.size_bytes, (query, walk.inputs.positions))
    query = rotated(walk, query, indexer.rotation)
    shares = walk.linear(weights, "indexer.proj", x)
    shares = graph.compute(shares.size_bytes, (shares,))
    cache = Resident(0, block.cache_home)
    scores = graph.read(cells * rows * F32, (cache,), (query, shares, indexer.mask))
    best = min(hparams.indexer_top_k, cells)
    chosen = graph.compute(best * rows * F32, (scores,))
    chosen = graph.compute(chosen.size_bytes, (chosen,))
    mask = agreed(walk.inputs.mask, block.index, "a cache of keys")
    narrowed = graph.compute(mask.size_bytes, (mask,))
    constants = agreed(indexer.constants.get(block.index), block.index, "an indexer")
    graph.compute(0, (chosen, walk.alter(constants)))
    return graph.compute(narrowed.size_bytes, (narrowed, mask))
