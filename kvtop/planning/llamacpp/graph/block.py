"""One block of a model: attention or a state, feed-forward, residuals (`build_graph` of src/models/*.cpp, b11434)."""

from kvtop.planning.llamacpp.graph.attention import Heads, attention, projected
from kvtop.planning.llamacpp.graph.gemma import add_per_layer
from kvtop.planning.llamacpp.graph.graph import Tensor
from kvtop.planning.llamacpp.graph.latent import latent_attention
from kvtop.planning.llamacpp.graph.model_blocks import Block
from kvtop.planning.llamacpp.graph.recurrence import recurrence
from kvtop.planning.llamacpp.graph.walk import Walk, Weights, experts, feed_forward, mixture


def narrowed(walk: Walk, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The rows that have outputs: from here on, nothing else is computed."""
    context = walk.context
    walk.narrowed = True
    walk.rows = walk.graph.rows = min(walk.rows, context.n_outputs_max)
    return tuple(walk.values(walk.hparams.n_embd, (tensor, walk.inputs.out_rows)) for tensor in tensors)


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
    elif "attn_q" in weights or "attn_kv_b" in weights or ("attn_qkv" in weights and not recurrent):
        heads = attention(walk, block, normed)
    feeds = "ffn_down" in weights or "ffn_down_exps" in weights
    if heads is not None and feeds and not recurrent and _NORMS_BETWEEN.isdisjoint(weights):
        return _parallel(walk, block, (normed, x), heads)
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
    if _narrows(walk, block):
        out, x = narrowed(walk, out, x)
    closing = "post_attention_norm" in weights and ("ffn_norm" in weights or "post_ffw_norm" in weights)
    if closing:
        out = walk.norm(weights, "post_attention_norm", out)
    # What a state's block gives is a view here: only the residual can be overwritten.
    viewed = heads is None and (walk.hparams.traits.views_state or "ssm_d" not in weights or "ssm_x" in weights)
    added = viewed and not closing
    x = walk.graph.compute(x.size_bytes, (x, out), 1) if added else _summed(walk, out, x, "attention")
    if "attn_output_norm" in weights:
        x = walk.norm(weights, "attn_output_norm", x)
    return _second_half(walk, weights, x, closing) if feeds else x


def _parallel(walk: Walk, block: Block, inputs: tuple[Tensor, Tensor], heads: Heads) -> Tensor:
    """Feed-forward beside attention (Command R, Falcon, GPT-NeoX): `inputs`: normalised, and the residual."""
    normed, x = inputs
    all_rows, narrows = walk.rows, _narrows(walk, block)
    if narrows:
        (normed,) = narrowed(walk, normed)
    fed = _fed(walk, block.weights, normed)
    if narrows:
        (x,) = narrowed(walk, x)
    fed = walk.add(fed, x)
    some_rows = walk.rows
    walk.rows = walk.graph.rows = all_rows
    attended = projected(walk, block.weights, heads)
    walk.rows = walk.graph.rows = some_rows
    if narrows:
        (attended,) = narrowed(walk, attended)
    return walk.add(fed, attended)


def _narrows(walk: Walk, block: Block) -> bool:
    return block.index == walk.hparams.n_layer - 1 and not walk.hparams.traits.narrows_at_the_end


def _summed(walk: Walk, out: Tensor, residual: Tensor, half: str) -> Tensor:
    """A residual connection of a half of the block. The first operand's memory is the one taken over."""
    first = walk.hparams.traits.residual_first in {half, "both"}
    return walk.add(residual, out) if first else walk.add(out, residual)


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
    x = _summed(walk, out, x, "feed_forward")
    if "layer_output_norm" in weights:
        x = walk.norm(weights, "layer_output_norm", x)
    if "inp_gate" in weights and walk.per_layer is not None:
        x = walk.add(x, add_per_layer(walk, weights, x))
    if "layer_output_scale" in weights:
        x = walk.graph.weighted(x.size_bytes, weights["layer_output_scale"], (x,), 1)
    return x


def _fed(walk: Walk, weights: Weights, x: Tensor) -> Tensor:
    return mixture(walk, weights, x) if "ffn_down_exps" in weights else feed_forward(walk, weights, x)
