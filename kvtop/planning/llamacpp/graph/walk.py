"""How the operations of a graph are written down, and the feed-forward half of a block.

Follows `build_ffn`, `build_moe_ffn` and `build_norm` (src/llama-graph.cpp) and src/models/*.cpp (b11434).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.graph.graph import Graph, Resident, Tensor
from kvtop.planning.llamacpp.model.hparams import HParams

F32 = 4

_MOST_FUSED = 15
"""Experts a token up to which ggml-cuda sums them in one kernel."""

Weights = Mapping[str, Resident]


@dataclass(slots=True)
class Inputs:
    """Tensors that the host fills: positions, cache slots and masks. None where the model has no use for them."""

    positions: Tensor
    key_slots: Tensor | None
    value_slots: Tensor | None
    mask: Tensor | None
    window_mask: Tensor | None
    window_slots: tuple[Tensor, Tensor] | None
    state_rows: Tensor | None
    state_views: tuple[Tensor, Tensor] | None
    """Rows of the batch's own sequences and of the others, as a scan reads them."""
    rotations: tuple[Tensor | None, Tensor | None]
    """Of keys and of values, where caches are quantised."""
    window_rotations: tuple[Tensor | None, Tensor | None]
    out_rows: Tensor
    attention_scale: Tensor | None = None


@dataclass(slots=True)
class Indexer:
    """Inputs of the lightning indexer."""

    rotation: Tensor | None
    slots: Tensor
    mask: Tensor
    constants: Mapping[int, Tensor]
    """By block: what unmasks the chosen cells."""


@dataclass(slots=True)
class PerLayer:
    """Gemma's inputs per layer: rows gathered by token, the embedding they are added to, and what comes of both."""

    selected: Tensor
    embedded: Tensor
    others: Weights
    made: Tensor | None = None


@dataclass(slots=True)
class Walk:
    """One graph being written down. `rows`: tokens that matrix products work on."""

    graph: Graph
    rows: int
    hparams: HParams
    context: ResolvedContext
    inputs: Inputs
    indexer: Indexer | None = None
    per_layer: PerLayer | None = None
    value_transposed: bool = False
    """The value cache was laid out for attention that is not fused."""
    cache_on_host: bool = False
    narrowed: bool = False
    """Whether only rows with outputs are left."""
    has_last_uses: bool = False
    """As `Blocks.has_last_uses`."""

    def values(self, width: int, sources: tuple[Tensor, ...], reuse: int = 0) -> Tensor:
        """A tensor of `width` f32 values a row."""
        return self.graph.compute(width * self.rows * F32, sources, reuse)

    def product(self, weight: Resident, x: Tensor) -> Tensor:
        """A matrix product with a weight."""
        return self.graph.weighted(weight.rows * self.rows * F32, weight, (x,), 0, self.rows)

    def linear(self, weights: Weights, name: str, x: Tensor) -> Tensor:
        """A matrix product and its bias."""
        y = self.product(weights[name], x)
        bias = weights.get(name + ".bias")
        return y if bias is None else self.graph.weighted(y.size_bytes, bias, (y,), 1)

    def norm(self, weights: Weights, name: str, x: Tensor, size_bytes: int = 0) -> Tensor:
        """Normalise and scale. With `size_bytes`, a part of `x`: nothing to overwrite. LayerNorm is never in place."""
        bias = weights.get(name + ".bias")
        own = size_bytes or bias is not None or self.hparams.traits.layer_norm
        size_bytes = size_bytes or x.size_bytes
        y = self.graph.compute(size_bytes, (x,), 0 if own else 1)
        weight = weights.get(name)
        if weight is not None:
            y = self.graph.weighted(size_bytes, weight, (y,), 1)
        if bias is not None:
            y = self.graph.weighted(size_bytes, bias, (y,), 1)
        return y

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """A sum, in place of either."""
        return self.graph.compute(a.size_bytes, (a, b), 2)

    def alter(self, x: Tensor) -> Tensor:
        """An elementwise operation in place."""
        return self.graph.compute(x.size_bytes, (x,), 1)


def feed_forward(walk: Walk, weights: Weights, x: Tensor, suffix: str = "") -> Tensor:
    """Up, activation, down; with or without a gate. `suffix` "_shexp": the shared expert."""
    up_name = "ffn_up" + suffix
    down = weights["ffn_down" + suffix]
    if "ffn_gate" + suffix in weights:
        hidden = _gated(walk, weights, x, suffix)
    else:
        up = walk.linear(weights, up_name, x)
        inner = _columns(down, weights[up_name])
        if inner:
            hidden = walk.values(inner, (up,))
        else:
            hidden = walk.alter(up)
            if walk.hparams.traits.squares_activation:
                hidden = walk.alter(hidden)
    return walk.linear(weights, "ffn_down" + suffix, hidden)


def _gated(walk: Walk, weights: Weights, x: Tensor, suffix: str) -> Tensor:
    gate = walk.linear(weights, "ffn_gate" + suffix, x)
    up = walk.linear(weights, "ffn_up" + suffix, x)
    return walk.graph.compute(up.size_bytes, (gate, up))


def _is_shared_alike(weights: Weights, count: int) -> bool:
    """Whether the shared expert's gate and up are of the type and shape of one of the others, on an equal device."""
    for name in ("ffn_gate", "ffn_up"):
        one, many = weights.get(name + "_shexp"), weights.get(name + "_exps")
        if one is None or many is None or one.home != many.home:
            return False
        if (one.rows, one.columns, one.size_bytes * count) != (many.rows, many.columns, many.size_bytes):
            return False
    return True


def _columns(down: Resident, up: Resident) -> int:
    """Half the rows of a fused gate and up matrix, 0 where the matrix is no such pair."""
    return up.rows // 2 if down.columns * 2 == up.rows else 0


def experts(
    walk: Walk,
    weights: Weights,
    x: Tensor,
    prepare: Callable[[], Tensor] | None = None,
    beside: Callable[[], None] | None = None,
) -> Tensor:
    """A mixture of experts: routing by `x`, the used experts' products, and their weighted sum.

    `prepare` writes the experts' own input after the routing, where it is not `x`. `beside` writes what is computed
    together with the experts' inner products.
    """
    hparams, graph, rows = walk.hparams, walk.graph, walk.rows
    used = max(1, *hparams.n_expert_used)
    logits = walk.linear(weights, "ffn_gate_inp", x)
    early = hparams.traits.routes_by_logits
    # Where logits choose, both are there.
    probabilities = graph.compute(logits.size_bytes, (logits,)) if early else walk.alter(logits)
    routing = [logits, probabilities]
    chosen_from = logits if early else probabilities
    bias = weights.get("exp_probs_b.bias")
    if bias is not None:
        chosen_from = graph.weighted(probabilities.size_bytes, bias, (probabilities,), 1)
        routing.append(chosen_from)
    chosen = graph.compute(probabilities.size_bytes, (chosen_from,))
    # A view of the first columns: another device copies it from its first to its last value.
    chosen.staged_bytes = probabilities.size_bytes - probabilities.size_bytes // rows + used * F32
    shares = _shares(walk, walk.values(used, (probabilities, chosen)))
    if graph.keeps_experts and not early and not _chosen_first(hparams) and _is_routed_at_once(hparams.n_expert):
        graph.operations.append(Tensor(0, (*routing, chosen, shares)))
    graph.expand()
    if prepare is not None:
        x = prepare()
    width = hparams.n_embd
    # A view with a dimension more: another device copies it apart from what the router reads.
    x = graph.part(x, x.size_bytes)
    if early:
        x = graph.compute(used * x.size_bytes, (x,))
        x = graph.compute(x.size_bytes, (x, shares), 1)
    hidden = _inner_experts(walk, weights, x, chosen, used)
    if beside is not None:
        beside()
    out = graph.weighted(used * width * rows * F32, weights["ffn_down_exps"], (hidden, chosen))
    out = _expert_bias(walk, weights, "ffn_down_exps", out, chosen)
    scale = weights.get("ffn_down_exps.scale")
    if scale is not None:
        spread = graph.weighted(probabilities.size_bytes, scale, ())
        picked = walk.values(used, (spread, chosen))
        out = graph.compute(out.size_bytes, (out, picked), 1)
    given = out
    if not early:
        out = graph.compute(out.size_bytes, (out, shares), 1)
    one = width * rows * F32
    if used == 1:
        result = graph.compute(one, (out,))
        graph.expand()
        return result
    result = graph.compute(one, (out, out))
    for _ in range(used - 2):
        result = graph.compute(one, (result, out), 1)
    if graph.keeps_experts and used <= _MOST_FUSED and weights["ffn_down_exps"].home != graph.host:
        graph.operations.append(Tensor(0, (given, shares)))
    graph.expand()
    return result


def _is_routed_at_once(experts: int) -> bool:
    """Whether ggml-cuda chooses among so many experts in one kernel (`ggml_cuda_should_use_topk_moe`)."""
    return experts in {288, 576} or (experts <= 512 and experts & (experts - 1) == 0)


def _chosen_first(hparams: HParams) -> bool:
    return hparams.traits.expert_shares == "softmax_of_chosen"


def _shares(walk: Walk, picked: Tensor) -> Tensor:
    """The weights of the chosen experts: a softmax of their own, divided by their sum, or scaled (`build_moe_ffn`)."""
    hparams, graph, shares = walk.hparams, walk.graph, picked
    if _chosen_first(hparams):
        return graph.compute(shares.size_bytes, (shares,))
    rule = hparams.traits.expert_shares
    normalises = hparams.normalises_experts if rule == "by_key" else rule == "normalised"
    if normalises:
        total = walk.alter(walk.values(1, (shares,)))
        # Through a view, whose memory nothing takes over.
        shares = graph.compute(shares.size_bytes, (shares, total))
    if hparams.scales_experts:
        shares = graph.compute(shares.size_bytes, (shares,), 1)
        shares.view_first = normalises
    return shares


def _inner_experts(walk: Walk, weights: Weights, x: Tensor, chosen: Tensor, used: int) -> Tensor:
    graph = walk.graph
    unit = used * walk.rows * F32
    fused = weights.get("ffn_gate_up_exps")
    if fused is not None:
        both = graph.weighted(fused.rows * unit, fused, (x, chosen))
        return graph.compute(both.size_bytes // 2, (both,))
    up_weight = weights["ffn_up_exps"]
    size_bytes = up_weight.rows * unit
    gate_weight = weights.get("ffn_gate_exps")
    if gate_weight is None:
        up = graph.weighted(size_bytes, up_weight, (x, chosen))
        hidden = walk.alter(_expert_bias(walk, weights, "ffn_up_exps", up, chosen))
        return walk.alter(hidden)
    gate = graph.weighted(size_bytes, gate_weight, (x, chosen))
    gate = _expert_bias(walk, weights, "ffn_gate_exps", gate, chosen)
    up = graph.weighted(size_bytes, up_weight, (x, chosen))
    up = _expert_bias(walk, weights, "ffn_up_exps", up, chosen)
    return graph.compute(size_bytes, (gate, up))


def _expert_bias(walk: Walk, weights: Weights, name: str, y: Tensor, chosen: Tensor) -> Tensor:
    bias = weights.get(name + ".bias")
    return (
        y
        if bias is None
        else walk.graph.weighted(y.size_bytes, bias, (y, chosen), 1, y.size_bytes // (F32 * bias.columns))
    )


def mixture(walk: Walk, weights: Weights, x: Tensor) -> Tensor:
    """The experts and, where the model has one, the shared expert beside them."""
    if "ffn_up_shexp" not in weights:
        return experts(walk, weights, x)
    if walk.graph.keeps_experts and _is_shared_alike(weights, walk.hparams.n_expert):
        # ggml-cuda computes the inner products of the shared expert together with those of the others.
        hidden: list[Tensor] = []

        def together() -> None:
            hidden.append(_gated(walk, weights, x, "_shexp"))
            walk.graph.operations.append(Tensor(0, (x,)))

        out = experts(walk, weights, x, beside=together)
        shared = walk.linear(weights, "ffn_down_shexp", hidden[0])
    else:
        out = experts(walk, weights, x)
        shared = feed_forward(walk, weights, x, "_shexp")
    gate = weights.get("ffn_gate_inp_shexp")
    if gate is not None:
        opening = walk.alter(walk.product(gate, x))
        shared = walk.graph.compute(shared.size_bytes, (shared, opening), 1)
    return walk.add(out, shared)
