"""Blocks with a state instead of a cache: Mamba, gated delta nets, short convolutions (src/models/*.cpp, b11434)."""

from collections.abc import Callable

from kvtop.planning.llamacpp.graph.graph import Resident, Tensor
from kvtop.planning.llamacpp.graph.model_blocks import Block
from kvtop.planning.llamacpp.graph.tensors import agreed
from kvtop.planning.llamacpp.graph.walk import F32, Walk, Weights


def recurrence(walk: Walk, block: Block, x: Tensor, after_scan: Callable[[], None] | None = None) -> Tensor:
    """From the normalised input to the block's output, before the residual.

    `after_scan` writes what comes between the scan and what follows it.
    """
    if "shortconv.conv" in block.weights:
        return _short_convolution(walk, block, x)
    if "ssm_d" not in block.weights:
        return _delta_net(walk, block, x)
    return _mamba(walk, block, x) if "ssm_x" in block.weights else _mamba2(walk, block, x, after_scan)


def _state(walk: Walk, block: Block, values: int) -> tuple[Resident, Tensor]:
    """The rows of a state, gathered for the sequences of the batch."""
    size_bytes = values * walk.context.n_seq_max * F32
    cache = Resident(size_bytes, block.cache_home)
    rows = agreed(walk.inputs.state_rows, block.index, "a state")
    return cache, walk.graph.gather(size_bytes, cache, rows)


def _convolution(walk: Walk, block: Block, x: Tensor, channels: int) -> Tensor:
    """A causal convolution over the batch with the last columns of the one before in front."""
    weights, graph = block.weights, walk.graph
    name = "shortconv.conv" if "shortconv.conv" in weights else "ssm_conv1d"
    before = (weights[name].columns - 1) * walk.context.n_seq_max
    cache, state = _state(walk, block, before // walk.context.n_seq_max * channels)
    padded = graph.compute((before + walk.rows) * channels * F32, (state, x))
    # The last columns of every channel: from the first to the last of them, on another device.
    graph.store(cache, (graph.part(padded, padded.size_bytes - walk.rows // walk.context.n_seq_max * F32),))
    y = graph.weighted(channels * walk.rows * F32, weights[name], (padded,))
    bias = weights.get(name + ".bias")
    return y if bias is None else graph.weighted(y.size_bytes, bias, (y,), 1)


def _scan(walk: Walk, block: Block, sources: tuple[Tensor, ...]) -> Tensor:
    hparams = walk.hparams
    inner = hparams.ssm_d_inner
    states = hparams.ssm_d_state * inner * walk.context.n_seq_max
    cache = Resident(states * F32, block.cache_home)
    decay = block.weights["ssm_a"]
    main, tail = agreed(walk.inputs.state_views, block.index, "states")
    walk.graph.clear(cache)
    scan = walk.graph.weighted((inner * walk.rows + states) * F32, decay, (*sources, main))
    # A scan has one row: a GPU never takes it over from the host.
    scan.device = decay.home
    scan.reads = (decay, cache)
    scan.staged_bytes = inner * walk.rows * F32
    others = states // walk.context.n_seq_max * (walk.context.n_seq_max - 1)
    # The rows of sequences that this batch does not hold, through a view of their own.
    rest = Resident(states * F32, block.cache_home)
    walk.graph.store(cache, (walk.graph.read(others * F32, (rest,), (tail,)),))
    walk.graph.store(cache, (scan,))
    return scan


def _strided(walk: Walk, whole: Tensor, width: int) -> Tensor:
    """The first `width` values of every row: another device copies all from the first to the last of them."""
    return walk.graph.part(whole, whole.size_bytes - whole.size_bytes // walk.rows + width * F32)


def _mamba(walk: Walk, block: Block, x: Tensor) -> Tensor:
    weights, graph, inner = block.weights, walk.graph, walk.hparams.ssm_d_inner
    both = walk.linear(weights, "ssm_in", x)
    y = walk.alter(_convolution(walk, block, both, inner))
    parts = walk.linear(weights, "ssm_x", y)
    step = walk.values(walk.hparams.ssm_dt_rank, (parts,))
    if "ssm_dt_norm" in weights:
        step = graph.weighted(step.size_bytes, weights["ssm_dt_norm"], (step,), 1)
    step = walk.linear(weights, "ssm_dt", step)
    states = walk.hparams.ssm_d_state
    if "ssm_b_norm" in weights:
        gates = [walk.norm(weights, name, parts, states * walk.rows * F32) for name in ("ssm_b_norm", "ssm_c_norm")]
    else:
        gates = [_strided(walk, parts, states) for _ in range(2)]
    scan = _scan(walk, block, (y, step, *gates))
    gate = walk.values(inner, (both,))
    skipped = graph.weighted(y.size_bytes, weights["ssm_d"], (y,), 1)
    y = graph.compute(y.size_bytes, (scan, skipped), 2)
    y.view_first = True
    return walk.linear(weights, "ssm_out", graph.compute(y.size_bytes, (gate, y)))


def _mamba2(walk: Walk, block: Block, x: Tensor, after_scan: Callable[[], None] | None) -> Tensor:
    weights, graph, hparams = block.weights, walk.graph, walk.hparams
    inner = hparams.ssm_d_inner
    both = walk.linear(weights, "ssm_in", x)
    channels = inner + 2 * hparams.ssm_n_group * hparams.ssm_d_state
    mixed = walk.alter(_convolution(walk, block, both, channels))
    step = walk.values(hparams.ssm_dt_rank, (both,))
    bias = weights.get("ssm_dt.bias")
    if bias is not None:
        step = graph.weighted(step.size_bytes, bias, (step,), 1)
    gates = hparams.ssm_n_group * hparams.ssm_d_state
    scan = _scan(walk, block, (_strided(walk, mixed, inner), step, *(_strided(walk, mixed, gates) for _ in range(2))))
    if after_scan is not None:
        after_scan()
    gate = walk.values(inner, (both,))
    # By heads of their own lengths.
    skipped = graph.weighted(gate.size_bytes, weights["ssm_d"], (mixed,), 0, walk.rows * weights["ssm_d"].rows)
    y = graph.compute(gate.size_bytes, (scan, skipped), 2)
    y.view_first = True
    y = graph.compute(y.size_bytes, (gate, y))
    if "ssm_norm" in weights:
        y = walk.norm(weights, "ssm_norm", y, y.size_bytes)
    return walk.linear(weights, "ssm_out", y)


def _delta_net(walk: Walk, block: Block, x: Tensor) -> Tensor:
    weights, graph, hparams, rows = block.weights, walk.graph, walk.hparams, walk.rows
    inner = hparams.ssm_d_inner
    keys = hparams.ssm_n_group * hparams.ssm_d_state
    mixed = walk.linear(weights, "attn_qkv" if "attn_qkv" in weights else "ssm_in", x)
    mixed = walk.alter(_convolution(walk, block, mixed, inner + 2 * keys))
    cache, state = _state(walk, block, hparams.n_embd_s)
    query = walk.alter(walk.values(keys, (mixed,)))
    if "ssm_ba" in weights:
        # Qwen3 Next repeats its heads for the values.
        query = walk.values(inner, (query,))
    key = walk.alter(walk.values(keys, (mixed,)))
    if "ssm_ba" in weights:
        key = walk.values(inner, (key,))
    small, beta = _decay_and_beta(walk, weights, x)
    grown = rows + inner // max(1, hparams.ssm_dt_rank) * walk.context.n_seq_max
    out = graph.compute(inner * grown * F32, (query, key, mixed, small, beta, state))
    graph.store(cache, (graph.part(out, cache.size_bytes),))
    y = graph.compute(inner * rows * F32, (out,))
    y = graph.weighted(y.size_bytes, weights["ssm_norm"], (y,), 1) if "ssm_norm" in weights else y
    if "attn_gate" in weights:
        gate = walk.linear(weights, "attn_gate", x)
        gate = graph.compute(gate.size_bytes, (gate,))
    else:
        gate = y
    y = graph.compute(y.size_bytes, (y, gate), 1)
    return walk.linear(weights, "ssm_out", y)


def _decay_and_beta(walk: Walk, weights: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """How fast the state is forgotten, and how strongly it is written: one value a head and row each."""
    graph = walk.graph
    fused = "ssm_ba" in weights
    both = walk.linear(weights, "ssm_ba" if fused else "ssm_alpha", x)
    decay = graph.compute(both.size_bytes // 2, (both,)) if fused else both
    for name in ("ssm_dt.bias", "ssm_a"):
        if name in weights:
            decay = graph.weighted(decay.size_bytes, weights[name], (decay,), 1)
            # What a product gives is a view by heads here.
            decay.view_first = name == "ssm_dt.bias" and not fused
    if fused:
        return decay, walk.alter(graph.compute(both.size_bytes // 2, (both,)))
    if "ssm_beta" not in weights:
        return decay, decay
    beta = walk.linear(weights, "ssm_beta", x)
    return decay, graph.compute(beta.size_bytes, (beta,))


def _short_convolution(walk: Walk, block: Block, x: Tensor) -> Tensor:
    weights, width = block.weights, walk.hparams.n_embd
    parts = walk.linear(weights, "shortconv.in_proj", x)
    product = walk.values(width, (parts,))
    y = _convolution(walk, block, product, width)
    y = walk.graph.compute(y.size_bytes, (y, parts), 1)
    return walk.linear(weights, "shortconv.out_proj", y)
