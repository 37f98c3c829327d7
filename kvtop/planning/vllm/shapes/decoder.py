"""All matrices of a text model, layer by layer, from its configuration and what its layers cache."""

from collections import defaultdict
from dataclasses import replace

from kvtop.planning.vllm.models.cached_layers import CachedLayer, attention_heads, hidden_size, layer_count
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.shapes import feed_forward, mixers
from kvtop.planning.vllm.shapes.matrix import Cut, Matrix, small
from kvtop.planning.vllm.specs.layer_specs import SpecKind

_TIED = frozenset(
    (
        "gemma",
        "gemma2",
        "gemma3_text",
        "gemma3n_text",
        "gemma4_text",
        "cohere",
        "cohere2",
        "gpt2",
        "bloom",
        "falcon",
        "opt",
        "starcoder2",
        "gpt_bigcode",
        "smollm3",
        "lfm2",
        "lfm2_moe",
        "mpt",
        "exaone",
        "whisper",
        "paligemma",
        "mamba",
        "mamba2",
        "falcon_mamba",
        "bert",
        "ministral3",
        "ernie4_5",
        "ernie4_5_moe",
    )
)
"""Model types whose configuration class ties the output to the embedding where config.json says nothing."""


def decoder(view: ConfigView, caches: tuple[CachedLayer, ...]) -> tuple[Matrix, ...]:
    """Embedding, decoder layers and head. `caches` are those of one rank that holds all heads."""
    width, vocabulary = hidden_size(view), view.positive("vocab_size")
    found = [Matrix("embed_tokens", vocabulary, width, Cut.VOCABULARY, is_linear=False)]
    if not is_tied(view):
        found.append(Matrix("lm_head", vocabulary, width, Cut.VOCABULARY))
    by_layer: dict[int, list[CachedLayer]] = defaultdict(list)
    for cache in caches:
        by_layer[cache.index].append(cache)
    count = layer_count(view)
    letters = feed_forward.letters(view.values, count)
    for index in range(count):
        found += _mixing(view, index, by_layer.get(index, []), None if letters is None else letters[index])
        found += _feeding(view, index, None if letters is None else letters[index])
        found.append(mixers.norms(view, index))
    return tuple(found) + _per_layer_inputs(view, count)


def is_tied(view: ConfigView) -> bool:
    """Whether the output layer is the embedding."""
    for source in (view.values, view.root):
        for key in ("tie_word_embeddings", "tie_embedding"):
            stated = source.get(key)
            if stated is not None:
                return bool(stated)
    return view.word("model_type") in _TIED


def _mixing(view: ConfigView, index: int, caches: list[CachedLayer], letter: str | None) -> list[Matrix]:
    if letter is not None and letter not in "M*":
        return []
    found: list[Matrix] = []
    has_indexer = any(cache.is_indexer for cache in caches)
    if any(cache.fixed is not None for cache in caches):
        ratios = view.wholes("compress_ratios") or ()
        return mixers.compressed_attention(view, index, ratios[index] if index < len(ratios) else 1)
    for cache in caches:
        if cache.is_indexer:
            if cache.kind is SpecKind.MLA and view.part("sparse_attention_config"):
                found += mixers.block_picker(view, index)
            continue
        if cache.kind is SpecKind.MAMBA:
            found += mixers.recurrent(view, index)
        elif cache.kind is SpecKind.MLA:
            found += mixers.latent_attention(view, index, has_indexer=has_indexer)
        else:
            found += mixers.attention(view, cache, index, _query_heads(view, index))
    if not caches and letter is None and view.raw("block_configs") is None:
        found += mixers.attention(view, None, index, _query_heads(view, index))
    return found


def _query_heads(view: ConfigView, index: int) -> int:
    """Some families have another number of heads in some layers."""
    listed = view.wholes("num_attention_heads_per_layer")
    if listed is not None and index < len(listed):
        return listed[index]
    other, types = view.part("attention_other_setting"), view.words("layer_types")
    if other and types is not None and index < len(types) and types[index] == other.get("attention_type"):
        special = other.get("num_attention_heads")
        if isinstance(special, int):
            return special
    return attention_heads(view)


def _feeding(view: ConfigView, index: int, letter: str | None) -> list[Matrix]:
    if letter is not None:
        if letter == "E":
            return feed_forward.mixture(view, index)
        return feed_forward.dense(view, index) if letter == "-" else []
    kind = view.word("model_type")
    if kind in ("mamba", "mamba2", "falcon_mamba"):
        return []
    if kind == "longcat_flash":
        return feed_forward.mixture(view, index) + 2 * feed_forward.dense(view, index)
    found = feed_forward.mixture(view, index) if feed_forward.is_mixture(view, index) else []
    if not found or view.flag("enable_moe_block") or view.flag("parallel_attn_mlp_res"):
        found += feed_forward.dense(view, index)
    return found


def _per_layer_inputs(view: ConfigView, count: int) -> tuple[Matrix, ...]:
    """Gemma 3n and 4: an embedding for every layer beside the common one, and its projections."""
    size = view.whole("hidden_size_per_layer_input")
    if not size:
        return ()
    width, vocabulary = hidden_size(view), view.whole("vocab_size_per_layer_input") or view.positive("vocab_size")
    layers = tuple(
        Matrix(f"layers.{index}.{name}", size, width, Cut.WHOLE, index)
        for index in range(count)
        for name in ("per_layer_input_gate", "per_layer_projection")
    )
    return (
        Matrix("embed_tokens_per_layer", vocabulary, count * size, Cut.VOCABULARY, is_linear=False),
        Matrix("per_layer_model_projection", count * size, width, Cut.OUTPUT),
        small("norm", width, None),
        *layers,
    )


def draft_modules(view: ConfigView, caches: tuple[CachedLayer, ...], modules: int) -> tuple[Matrix, ...]:
    """A draft's decoder layers, after the target's own: attention, feed-forward, and what joins two hidden states."""
    width, count = hidden_size(view), layer_count(view)
    found: list[Matrix] = []
    for at in range(modules):
        own = [cache for cache in caches if cache.index == count + at]
        has_indexer = any(cache.is_indexer for cache in own)
        index = count + at
        if any(cache.fixed is not None for cache in own):
            found += mixers.compressed_attention(view, index, 1)
            own = []
        for cache in own:
            if cache.kind is SpecKind.MLA and not cache.is_indexer:
                found += mixers.latent_attention(view, index, has_indexer=has_indexer)
            elif cache.kind is not SpecKind.MLA:
                found += mixers.attention(view, cache, index)
        is_mixture = feed_forward.expert_count(view) > 0
        found += feed_forward.mixture(view, index) if is_mixture else feed_forward.dense(view, index)
        found.append(Matrix(f"layers.{index}.eh_proj", width, 2 * width, Cut.WHOLE, index, is_linear=False))
    return tuple(found)


def draft_model(
    view: ConfigView, caches: tuple[CachedLayer, ...], first: int, *, shares_embedding: bool
) -> tuple[Matrix, ...]:
    """A draft with a configuration of its own, behind `first` layers of the target; it is loaded as it is stored."""
    width = hidden_size(view)
    found = [
        replace(
            matrix,
            rows=(view.whole("draft_vocab_size") or matrix.rows) if matrix.name == "lm_head" else matrix.rows,
            name=f"draft.{matrix.name}",
            layer=first + (matrix.layer or 0),
            is_linear=False,
        )
        for matrix in decoder(view, caches)
        if not (shares_embedding and matrix.name == "embed_tokens")
    ]
    if shares_embedding:
        found.append(Matrix("draft.fc", width, 3 * width, Cut.WHOLE, first, is_linear=False))
    return tuple(found)
