"""What Gemma 3n and 4 add to a block: inputs per layer, and Gemma 3n's parallel streams (src/models/gemma3n.cpp)."""

from kvtop.planning.llamacpp.graph.attention import attention, projected
from kvtop.planning.llamacpp.graph.graph import Tensor
from kvtop.planning.llamacpp.graph.model_blocks import Block
from kvtop.planning.llamacpp.graph.walk import F32, PerLayer, Walk, Weights

_STREAMS = 4


def per_layer_rows(walk: Walk, others: Weights, tokens: Tensor, embedded: Tensor) -> PerLayer:
    """Rows of every layer's own embedding, gathered on the host."""
    table = others["per_layer_token_embd"]
    size_bytes = table.columns * walk.rows * F32
    rows = walk.graph.weighted(size_bytes, table, (walk.graph.input(tokens.size_bytes),))
    rows.device = table.home
    scaled = walk.alter(rows)
    scaled.view_first = True
    return PerLayer(scaled, embedded, others)


def add_per_layer(walk: Walk, weights: Weights, x: Tensor) -> Tensor:
    """A gate over the layer's own input, projected back to the model's width; without its residual."""
    gate = walk.alter(walk.linear(weights, "inp_gate", x))
    own = walk.graph.part(_layer_inputs(walk), gate.size_bytes)
    gated = walk.graph.compute(gate.size_bytes, (gate, own), 1)
    return walk.norm(weights, "post_norm", walk.linear(weights, "proj", gated))


def _layer_inputs(walk: Walk) -> Tensor:
    """All layers' inputs, made when the first layer asks for them and kept to the last."""
    inputs = walk.per_layer
    assert inputs is not None
    if inputs.made is None:
        others = inputs.others
        y = walk.alter(walk.product(others["per_layer_model_proj"], inputs.embedded))
        y = walk.norm(others, "per_layer_proj_norm", y, y.size_bytes)
        y = walk.alter(walk.add(y, inputs.selected))
        inputs.made = walk.graph.compute(y.size_bytes, (y,))
        inputs.made.lasting = not walk.has_last_uses
    return inputs.made


def stacked_streams(walk: Walk, others: Weights, x: Tensor) -> Tensor:
    """Gemma 3n's four streams: the embedding, and three projections of its length."""
    graph, wide = walk.graph, (_STREAMS - 1) * x.size_bytes
    y = graph.weighted(wide, others["altup_proj"], (graph.compute(wide, (x,)),))
    length = walk.values(1, (graph.compute(x.size_bytes, (x,)),))
    scaled = graph.compute(wide, (y, length))
    lengths = walk.values(_STREAMS - 1, (walk.alter(y),))
    return graph.compute(wide + x.size_bytes, (x, graph.compute(wide, (scaled, lengths), 1)))


def merged_streams(walk: Walk, others: Weights, x: Tensor) -> Tensor:
    """The mean of the streams."""
    graph = walk.graph
    one = x.size_bytes // _STREAMS
    wide = one * (_STREAMS - 1)
    y = graph.weighted(wide, others["altup_unembd_proj"], (x,))
    scaled = graph.compute(wide, (y, walk.values(1, (graph.compute(one, (x,)),))))
    scaled = graph.compute(wide, (scaled, walk.values(_STREAMS - 1, (walk.alter(y),))), 1)
    return graph.compute(one, (x, scaled))


def write_gemma3n_block(walk: Walk, block: Block, x: Tensor) -> Tensor:
    """One block over four streams: predict, work on one, correct all."""
    weights, graph = block.weights, walk.graph
    one = x.size_bytes // _STREAMS
    turned = graph.compute(x.size_bytes, (x,))
    mixing = _routed(walk, weights, graph.compute(one, (x,)), "altup_predict_coef")
    mixed = graph.compute(x.size_bytes, (turned, mixing))
    predicted = walk.add(graph.compute(x.size_bytes, (mixed,)), x)
    normed = walk.norm(weights, "attn_norm", predicted, one)
    attended = projected(walk, weights, attention(walk, block, normed))
    attended = walk.norm(weights, "post_attention_norm", attended)
    attended = graph.compute(one, (attended, predicted), 1)
    low = walk.linear(weights, "laurel_r", walk.linear(weights, "laurel_l", normed))
    low = walk.add(walk.norm(weights, "laurel_post_norm", low), normed)
    attended = walk.alter(walk.add(attended, low))
    fed = _gated(walk, block, walk.norm(weights, "ffn_norm", attended))
    fed = walk.add(walk.norm(weights, "post_ffw_norm", fed), attended)
    innovation = graph.compute(one, (fed, predicted))
    spread = graph.compute(x.size_bytes, (innovation,))
    mixing = _routed(walk, weights, walk.alter(fed), "altup_correct_coef")
    corrected = walk.add(graph.compute(x.size_bytes, (spread, mixing), 1), predicted)
    first = graph.weighted(one, weights["altup_correct_scale"], (corrected,))
    first = add_per_layer(walk, weights, first)
    others = graph.compute(one * (_STREAMS - 1), (corrected, first))
    return graph.compute(x.size_bytes, (corrected, others))


def _routed(walk: Walk, weights: Weights, normed: Tensor, name: str) -> Tensor:
    scaled = walk.alter(walk.graph.weighted(normed.size_bytes, weights["altup_router_norm"], (normed,), 1))
    return walk.linear(weights, name, walk.alter(walk.linear(weights, "altup_router", scaled)))


def _gated(walk: Walk, block: Block, x: Tensor) -> Tensor:
    """A gated feed-forward; the first layers keep the largest values of the gate only."""
    weights = block.weights
    up = walk.linear(weights, "ffn_up", x)
    gate = walk.linear(weights, "ffn_gate", x)
    if block.index < walk.hparams.traits.sparse_layers:
        centred = walk.alter(walk.graph.compute(gate.size_bytes, (gate,)))
        deviation = walk.values(1, (centred,))
        gate = walk.alter(walk.graph.compute(gate.size_bytes, (gate, deviation), 1))
    gate = walk.alter(gate)
    return walk.linear(weights, "ffn_down", walk.graph.compute(up.size_bytes, (up, gate), 1))
