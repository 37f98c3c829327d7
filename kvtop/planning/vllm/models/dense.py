"""Model classes whose layers are all attention: which layer sees a window, a chunk or everything.

Source: vLLM 0.32.0, `model_executor/models/*.py`; Transformers for the layer types that a config.json leaves out.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from kvtop.domain.plan import MalformedModelError
from kvtop.planning.vllm.models.cached_layers import (
    BuildTerms,
    CachedLayer,
    attention_heads,
    divide,
    head_size,
    heads_per_rank,
    layer_count,
    total_kv_heads,
)
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.layer_specs import SpecKind

Windows = Callable[[ConfigView, int], tuple[int | None, ...]]
"""(config, layers) -> the window of each layer, None for all tokens."""

SLIDING, FULL = "sliding_attention", "full_attention"


def attention(
    index: int, heads: int, size: int, window: int | None, *, sink: bool = False, size_v: int | None = None
) -> CachedLayer:
    """One ordinary attention layer."""
    kind = SpecKind.FULL if window is None else SpecKind.SLIDING
    return CachedLayer(index, kind, heads, size, size if size_v is None else size_v, window, has_sink=sink)


def dense(view: ConfigView, terms: BuildTerms, windows: Windows, *, sinks: bool = False) -> tuple[CachedLayer, ...]:
    """Every layer alike but for its window."""
    layers, size = layer_count(view), head_size(view)
    heads = heads_per_rank(total_kv_heads(view), terms.tp_size)
    return tuple(
        attention(index, heads, size, window, sink=sinks) for index, window in enumerate(windows(view, layers))
    )


def falcon(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """falcon.py builds its attention without the cache configuration: no window, and always the model's own dtype."""
    return tuple(replace(layer, native_only=True) for layer in dense(view, terms, no_window))


def _window(view: ConfigView) -> int | None:
    return view.whole("sliding_window") or None


def everywhere(view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """A model-wide window, if the configuration has one (`CacheConfig.sliding_window`).

    vLLM takes it only where the layers are not of several types.
    """
    types = view.words("layer_types")
    if types is not None and any(kind != SLIDING for kind in types):
        return by_type(view, layers)
    return (_window(view),) * layers


def by_type(view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """By `layer_types`, as llama.py and the Transformers backend do; without them the model-wide window."""
    types = view.words("layer_types")
    if types is None:
        return (_window(view),) * layers
    if len(types) < layers:
        raise MalformedModelError("config.json has fewer layer_types than layers")
    window = _window(view)
    return tuple(window if kind == SLIDING else None for kind in types[:layers])


def by_type_or_everywhere(view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """Mellum: by `layer_types`; Transformers fills in full attention where there are none."""
    return by_type(view, layers) if view.words("layer_types") is not None else no_window(view, layers)


def no_window(_view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """All tokens on every layer."""
    return (None,) * layers


def every(full_every: int, key: str = "", offset: int = 0) -> Windows:
    """One layer in `full_every` sees everything, the last of each run, where `layer_types` does not say.

    `key` names the configuration value that overrides the number; `offset` is added to the window.
    """

    def windows(view: ConfigView, layers: int) -> tuple[int | None, ...]:
        window = _window(view)
        if window is None and offset:
            raise StartRefusedError("TypeError: unsupported operand type(s) for +: 'NoneType' and 'int'")
        wide = None if window is None else window + offset
        types = view.words("layer_types")
        if types is None:
            period = (view.whole(key) if key else None) or full_every
            types = tuple(FULL if (index + 1) % period == 0 else SLIDING for index in range(layers))
        return tuple(wide if kind == SLIDING else None for kind in types[:layers])

    return windows


def granite(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """granite.py: a model with `layer_types` has attention sinks, unless `attention_sinks` says otherwise."""
    stated = view.raw("attention_sinks")
    sinks = view.words("layer_types") is not None if stated is None else bool(stated)
    return dense(view, terms, everywhere, sinks=sinks)


def _types(view: ConfigView, layers: int) -> tuple[str, ...]:
    types = view.words("layer_types")
    if types is None or len(types) < layers:
        raise MalformedModelError("config.json has no layer_types for every layer")
    return types[:layers]


def exaone_moe(view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """exaone_moe.py: a window of each layer's own, where the configuration lists them."""
    own = view.wholes("sliding_windows") or (_window(view),) * layers
    return tuple(None if kind == FULL else own[index] for index, kind in enumerate(_types(view, layers)))


def cohere2_moe(view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """cohere2_moe.py: one token more than `sliding_window`."""
    return tuple(view.required("sliding_window") + 1 if kind == SLIDING else None for kind in _types(view, layers))


def step3p5(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """step3p5.py: layers of one type have a number and a size of heads of their own."""
    other = view.part("attention_other_setting")
    plain = total_kv_heads(view), head_size(view)
    special = other.get("num_attention_groups"), other.get("head_dim")
    window = view.required("sliding_window")
    built = []
    for index, kind in enumerate(_types(view, layer_count(view))):
        heads, size = plain
        if kind == other.get("attention_type"):
            heads, size = (one if isinstance(one, int) else usual for one, usual in zip(special, plain, strict=True))
        built.append(attention(index, heads_per_rank(heads, terms.tp_size), size, window if kind == SLIDING else None))
    return tuple(built)


def even_layers(view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """gpt_oss.py: every second layer, from the first."""
    return tuple(_window(view) if index % 2 == 0 else None for index in range(layers))


def gpt_oss(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """gpt_oss.py: attention sinks everywhere; it divides its KV heads and never repeats them."""
    if total_kv_heads(view) < terms.tp_size:
        raise StartRefusedError("ZeroDivisionError: integer modulo by zero")
    return dense(view, terms, even_layers, sinks=True)


def qwen_window(view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """qwen2.py refuses a window on some layers only; Transformers drops it unless `use_sliding_window`."""
    if view.flag("use_sliding_window") and _window(view) is not None:
        last = view.whole("max_window_layers")
        if last is not None and last != layers:
            raise StartRefusedError(
                "Sliding window for some but all layers is not supported. This model uses sliding window but "
                f"`max_window_layers` = {last} is less than `num_hidden_layers` = {layers}. "
                "Please open an issue to discuss this feature."
            )
    return (None,) * layers


def alibi(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """bloom.py: positions as slopes, which only version 2 of FlashAttention computes."""
    return tuple(replace(layer, has_alibi=True) for layer in dense(view, terms, everywhere))


def minicpm3(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """minicpm3.py: latent projections, but ordinary attention over every head's unfolded keys and padded values."""
    size = view.required("qk_nope_head_dim") + view.required("qk_rope_head_dim")
    heads = divide(attention_heads(view), terms.tp_size)
    windows = everywhere(view, layer_count(view))
    return tuple(attention(index, heads, size, window) for index, window in enumerate(windows))


def gemma3n(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """gemma3n.py: the last `num_kv_shared_layers` reuse the cache of an earlier layer and keep nothing."""
    layers = dense(view, terms, every(5))
    return layers[: len(layers) - (view.whole("num_kv_shared_layers") or 0)]


def gemma4(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """gemma4.py: full layers have heads of another size and, with `attention_k_eq_v`, of another number."""
    count = layer_count(view)
    windows = list(every(6)(view, count))
    if view.words("layer_types") is None:
        windows[-1] = None
    local_heads = heads_per_rank(view.required("num_key_value_heads"), terms.tp_size)
    wide_total = view.whole("num_global_key_value_heads") if view.flag("attention_k_eq_v") else None
    wide_heads = heads_per_rank(wide_total or view.required("num_key_value_heads"), terms.tp_size)
    local, wide = view.required("head_dim"), view.whole("global_head_dim") or view.required("head_dim")
    built = tuple(
        attention(index, wide_heads, wide, None) if window is None else attention(index, local_heads, local, window)
        for index, window in enumerate(windows)
    )
    return built[: count - (view.whole("num_kv_shared_layers") or 0)]


def llama4(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """llama4.py: layers with rotary positions attend within chunks."""
    count, size = layer_count(view), head_size(view)
    heads = heads_per_rank(total_kv_heads(view), terms.tp_size)
    rope = view.wholes("no_rope_layers")
    if not rope:
        interval = view.whole("no_rope_layer_interval") or 4
        rope = tuple(int((index + 1) % interval != 0) for index in range(count))
    chunk = view.whole("attention_chunk_size")
    return tuple(
        CachedLayer(index, SpecKind.CHUNKED, heads, size, size, chunk=chunk)
        if chunk is not None and rope[index]
        else attention(index, heads, size, None)
        for index in range(count)
    )


def whisper(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """whisper.py: self-attention of the decoder, and cross-attention over what the encoder saw."""
    heads_total, width = view.required("decoder_attention_heads"), view.required("d_model")
    heads, size = heads_per_rank(heads_total, terms.tp_size), width // heads_total
    caches: list[CachedLayer] = []
    for index in range(view.required("decoder_layers")):
        caches.append(attention(index, heads, size, None))
        caches.append(CachedLayer(index, SpecKind.CROSS, heads, size, size, attention_type="encoder_decoder"))
    return tuple(caches)


def mimo_v2(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """mimo_v2.py: layers by `hybrid_layer_pattern`, 1 for a window with heads of its own; keys wider than values."""
    pattern = view.wholes("hybrid_layer_pattern")
    count = layer_count(view)
    if pattern is None or len(pattern) < count:
        raise MalformedModelError("config.json has no hybrid_layer_pattern for every layer")
    return tuple(_mimo_layer(view, terms, index, windowed=pattern[index] == 1) for index in range(count))


def _mimo_layer(view: ConfigView, terms: BuildTerms, index: int, *, windowed: bool) -> CachedLayer:
    prefix = "swa_" if windowed else ""
    heads = view.required(f"{prefix}num_key_value_heads")
    size, size_v = view.required(f"{prefix}head_dim"), view.required(f"{prefix}v_head_dim")
    window = view.required("sliding_window", "sliding_window_size") if windowed else None
    sink = view.flag("add_swa_attention_sink_bias" if windowed else "add_full_attention_sink_bias")
    return attention(index, heads_per_rank(heads, terms.tp_size), size, window, sink=sink, size_v=size_v)


def blocks_listed(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """nemotron_nas.py: `block_configs` says for each layer how many query heads share a key, or that there are none."""
    blocks = view.raw("block_configs")
    if not isinstance(blocks, list | tuple):
        raise MalformedModelError("config.json has no block_configs")
    queries, size = attention_heads(view), head_size(view)
    built = []
    for index, block in enumerate(blocks):
        part = block.get("attention") if isinstance(block, Mapping) else None
        group = part.get("n_heads_in_group") if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or part.get("no_op") or not isinstance(group, int) or group < 1:
            continue
        built.append(attention(index, heads_per_rank(queries // group, terms.tp_size), size, None))
    return tuple(built)


def listed_windows(view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """plamo3.py: `interleaved_sliding_window` has a window or null a layer; else all but every eighth have one."""
    listed = view.raw("interleaved_sliding_window")
    if isinstance(listed, list | tuple) and len(listed) >= layers:
        return tuple(window if isinstance(window, int) else None for window in listed[:layers])
    return every(8, "sliding_window_pattern")(view, layers)


def rope_windows(view: ConfigView, layers: int) -> tuple[int | None, ...]:
    """muse_glimmer.py: layers without rotary positions see everything, others a window."""
    rope = view.wholes("no_rope_layers")
    interval = view.whole("no_rope_layer_interval") or 4
    uses = rope if rope else tuple(int((index + 1) % interval != 0) for index in range(layers))
    return tuple(_window(view) if uses[index] else None for index in range(layers))
