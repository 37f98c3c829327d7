"""Blocks of RWKV 6 and 7: two mixes over time and channels (src/models/rwkv6-base.cpp, rwkv7-base.cpp, b11434)."""

from collections.abc import Sequence

from kvtop.planning.llamacpp.graph.graph import Resident, Tensor
from kvtop.planning.llamacpp.graph.model_blocks import Block
from kvtop.planning.llamacpp.graph.tensors import agreed
from kvtop.planning.llamacpp.graph.walk import F32, Walk, Weights

_FUSED_MIXES = 5


def write_rwkv_blocks(walk: Walk, blocks: Sequence[Block], x: Tensor) -> Tensor:
    """All blocks."""
    first_value: Tensor | None = None
    for block in blocks:
        x, first_value = _block(walk, block, x, first_value)
    return x


def _block(walk: Walk, block: Block, x: Tensor, first_value: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """One block. `first_value`: the values of the first block, which RWKV 7 adds to those of all others."""
    weights, graph, hparams = block.weights, walk.graph, walk.hparams
    shifted = _state(walk, block, hparams.n_embd_r)
    normed = walk.norm(weights, "attn_norm", x)
    before = walk.values(hparams.n_embd, (shifted, normed))
    difference = graph.compute(before.size_bytes, (before, normed), 1)
    if "time_mix_decay" in weights:
        out = _time_mix6(walk, block, difference, normed)
    else:
        out, first_value = _time_mix7(walk, block, difference, normed, first_value)
    x = walk.add(out, x)
    fed = walk.norm(weights, "attn_norm_2", x)
    before = walk.values(hparams.n_embd, (shifted, fed))
    kept = graph.compute(hparams.n_embd_r * walk.context.n_seq_max * F32, (normed, fed))
    graph.store(Resident(0, block.cache_home), (kept,))
    if block.index == hparams.n_layer - 1:
        walk.narrowed = True
        walk.rows = graph.rows = min(walk.rows, walk.context.n_outputs_max)
        rows = walk.inputs.out_rows
        fed, before = (walk.values(hparams.n_embd, (tensor, rows)) for tensor in (fed, before))
        out = _channel_mix(walk, weights, before, fed)
        return walk.add(out, walk.values(hparams.n_embd, (x, rows))), first_value
    return walk.add(_channel_mix(walk, weights, before, fed), x), first_value


def _state(walk: Walk, block: Block, values: int) -> Tensor:
    rows = agreed(walk.inputs.state_rows, block.index, "a state")
    size_bytes = values * walk.context.n_seq_max * F32
    return walk.graph.gather(size_bytes, Resident(size_bytes, block.cache_home), rows)


def _scaled(walk: Walk, weight: Resident, x: Tensor, reuse: int = 1) -> Tensor:
    return walk.graph.weighted(x.size_bytes, weight, (x,), reuse)


def _narrow(walk: Walk, weights: Weights, name: str, x: Tensor, bends: bool) -> Tensor:
    """Through two thin matrices, with a bend in between where `bends`."""
    middle = walk.product(weights[f"{name}1"], x)
    return walk.product(weights[f"{name}2"], walk.alter(middle) if bends else middle)


def _kernel(walk: Walk, block: Block, sources: tuple[Tensor, ...], state: Tensor) -> Tensor:
    """The recurrence: outputs of all tokens and the states after them in one tensor."""
    values = walk.hparams.n_embd * walk.rows + walk.hparams.n_embd_s * walk.context.n_seq_max
    out = walk.graph.compute(values * F32, (*sources, state))
    walk.graph.store(Resident(0, block.cache_home), (out,))
    return out


def _group_normed(walk: Walk, weights: Weights, out: Tensor) -> Tensor:
    y = walk.values(walk.hparams.n_embd, (out,))
    return walk.graph.weighted(
        y.size_bytes, weights["time_mix_ln.bias"], (_scaled(walk, weights["time_mix_ln"], y),), 1
    )


def _time_mix6(walk: Walk, block: Block, difference: Tensor, normed: Tensor) -> Tensor:
    weights, graph = block.weights, walk.graph
    state = _state(walk, block, walk.hparams.n_embd_s)
    mixed = walk.add(_scaled(walk, weights["time_mix_lerp_x"], difference, 0), normed)
    thin = walk.alter(walk.product(weights["time_mix_w1"], mixed))
    thin = graph.compute(thin.size_bytes, (thin,))
    mixes = graph.weighted(_FUSED_MIXES * difference.size_bytes, weights["time_mix_w2"], (thin,))
    if "time_mix_lerp_fused" in weights:
        mixes = _scaled(walk, weights["time_mix_lerp_fused"], mixes)
        mixes = graph.compute(mixes.size_bytes, (graph.compute(mixes.size_bytes, (mixes, difference), 1), normed), 1)
        parts = dict.fromkeys("wkvrg", mixes)
    else:
        parts = {}
        for name in "kvrwg":
            part = graph.weighted(difference.size_bytes, weights[f"time_mix_lerp_{name}"], (mixes,))
            part = graph.compute(part.size_bytes, (part, difference), 1)
            parts[name] = graph.compute(part.size_bytes, (part, normed), 1)
    key = walk.linear(weights, "time_mix_key", parts["k"])
    value = walk.linear(weights, "time_mix_value", parts["v"])
    receptance = walk.linear(weights, "time_mix_receptance", parts["r"])
    decay = _narrow(walk, weights, "time_mix_decay_w", parts["w"], bends=True)
    decay = _scaled(walk, weights["time_mix_decay"], decay)
    decay = walk.alter(walk.alter(walk.alter(decay)))
    out = _kernel(walk, block, (key, value, receptance, decay), state)
    y = _group_normed(walk, weights, out)
    gate = walk.alter(walk.product(weights["time_mix_gate"], parts["g"]))
    y = graph.compute(y.size_bytes, (y, gate), 2)
    return walk.product(weights["time_mix_output"], y)


def _time_mix7(
    walk: Walk, block: Block, difference: Tensor, normed: Tensor, first_value: Tensor | None
) -> tuple[Tensor, Tensor]:
    weights, graph = block.weights, walk.graph
    state = _state(walk, block, walk.hparams.n_embd_s)
    one = difference.size_bytes
    has_gate = "time_mix_g1" in weights
    mixes = graph.compute((6 if has_gate else 5) * one, (difference,))
    mixes = _scaled(walk, weights["time_mix_lerp_fused"], mixes)
    mixes = graph.compute(mixes.size_bytes, (mixes, normed), 1)
    receptance = walk.product(weights["time_mix_receptance"], mixes)
    decay = _scaled(walk, weights["time_mix_w0"], _narrow(walk, weights, "time_mix_w", mixes, bends=True))
    decay = walk.alter(walk.alter(walk.alter(decay)))
    key = walk.product(weights["time_mix_key"], mixes)
    strength = _scaled(walk, weights["time_mix_a0"], _narrow(walk, weights, "time_mix_a", mixes, bends=False))
    strength = walk.alter(strength)
    scaled = _scaled(walk, weights["time_mix_k_a"], key, 0)
    change = graph.compute(one, (strength, scaled))
    key_changed = graph.compute(one, (key, graph.compute(one, (change, scaled), 1)))
    value = walk.product(weights["time_mix_value"], mixes)
    if first_value is None:
        first_value = value
    else:
        apart = graph.compute(one, (first_value, value))
        share = _scaled(walk, weights["time_mix_v0"], _narrow(walk, weights, "time_mix_v", mixes, bends=False))
        value = graph.compute(one, (value, graph.compute(one, (apart, walk.alter(share)), 1)), 1)
    unit = graph.compute(one, (_scaled(walk, weights["time_mix_k_k"], key, 0),))
    negative = graph.compute(one, (unit,))
    weighted = graph.compute(one, (unit, strength), 2)
    out = _kernel(walk, block, (receptance, decay, key_changed, value, negative, weighted), state)
    y = _group_normed(walk, weights, out)
    both = _scaled(walk, weights["time_mix_r_k"], graph.compute(one, (key_changed, receptance)))
    heads = max(1, walk.hparams.n_embd * walk.hparams.n_embd // max(1, walk.hparams.n_embd_s))
    y = walk.add(y, graph.compute(one, (value, walk.values(heads, (both,)))))
    if has_gate:
        thin = walk.alter(walk.product(weights["time_mix_g1"], mixes))
        y = graph.compute(one, (y, walk.product(weights["time_mix_g2"], thin)), 1)
    return walk.product(weights["time_mix_output"], y), first_value


def _channel_mix(walk: Walk, weights: Weights, before: Tensor, x: Tensor) -> Tensor:
    graph = walk.graph
    difference = graph.compute(before.size_bytes, (before, x), 1)

    def mixed(name: str) -> Tensor:
        return walk.add(_scaled(walk, weights[f"channel_mix_lerp_{name}"], difference, 0), x)

    gate = None
    if "channel_mix_receptance" in weights:
        gate = walk.alter(walk.product(weights["channel_mix_receptance"], mixed("r")))
    key = walk.alter(walk.alter(walk.product(weights["channel_mix_key"], mixed("k"))))
    out = walk.product(weights["channel_mix_value"], key)
    return out if gate is None else graph.compute(out.size_bytes, (gate, out), 2)
