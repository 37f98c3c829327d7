"""Model classes that mix attention with recurrent state, and those with state alone.

Source: vLLM 0.32.0, `get_mamba_state_shape_from_config` of each class in `model_executor/models/*.py`.
"""

from collections.abc import Iterable

from kvtop.domain.plan import MalformedModelError
from kvtop.planning.vllm.models.cached_layers import (
    BuildTerms,
    CachedLayer,
    divide,
    gated_delta_state,
    head_size,
    heads_per_rank,
    hidden_size,
    layer_count,
    mamba1_state,
    mamba2_state,
    total_kv_heads,
)
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.models.dense import attention
from kvtop.planning.vllm.specs.layer_specs import SpecKind


def _mixed(
    view: ConfigView, terms: BuildTerms, kinds: Iterable[str], state: int, checkpoints: int = 0
) -> tuple[CachedLayer, ...]:
    """One cache a layer: "attention" or "state"; any other word keeps nothing."""
    size = head_size(view)
    heads = heads_per_rank(total_kv_heads(view), terms.tp_size)
    caches: list[CachedLayer] = []
    for index, kind in enumerate(kinds):
        if kind == "attention":
            caches.append(attention(index, heads, size, None))
        elif kind == "state":
            caches.append(_state(index, state, checkpoints))
    return tuple(caches)


def _state(index: int, state: int, checkpoints: int) -> CachedLayer:
    return CachedLayer(index, SpecKind.MAMBA, state_bytes=state, prefill_checkpoints=checkpoints)


def _types(view: ConfigView, recurrent: str) -> list[str]:
    types = view.words("layer_types") or view.words("layers_block_type")
    if types is None:
        raise MalformedModelError("config.json has no layer_types")
    return [
        "attention"
        if kind in ("attention", "full_attention")
        # Newer configurations say "linear_attention" for every kind of state.
        else "state"
        if kind in (recurrent, "linear_attention")
        else kind
        for kind in types
    ]


def gated_delta(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """qwen3_next.py, qwen3_5.py, olmo_hybrid.py: gated delta nets with full attention now and then.

    Qwen3.5 keeps the recurrent part in the `mamba_ssm_dtype` of its configuration.
    """
    state = gated_delta_state(view, terms, view.word("mamba_ssm_dtype") or "auto")
    if view.words("layer_types") is not None:
        return _mixed(view, terms, _types(view, "linear_attention"), state)
    period = view.required("full_attention_interval")
    kinds = ["attention" if (index + 1) % period == 0 else "state" for index in range(layer_count(view))]
    return _mixed(view, terms, kinds, state)


def granite_hybrid(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """granitemoehybrid.py: Mamba-2 and attention by `layer_types`."""
    shape = {
        "inner": view.required("mamba_expand") * hidden_size(view),
        "groups": view.required("mamba_n_groups"),
        "heads": view.required("mamba_n_heads"),
        "head_dim": view.required("mamba_d_head"),
        "state": view.required("mamba_d_state"),
        "kernel": view.required("mamba_d_conv"),
    }
    kinds = _types(view, "mamba")
    state = mamba2_state(shape, terms) if "state" in kinds else 0
    return _mixed(view, terms, kinds, state, checkpoints=1)


def jamba(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """jamba.py: Mamba-1, attention every `attn_layer_period` layers."""
    state = mamba1_state(
        view.required("mamba_expand") * hidden_size(view),
        view.required("mamba_d_state"),
        view.required("mamba_d_conv"),
        terms,
    )
    period, offset = view.required("attn_layer_period"), view.required("attn_layer_offset")
    kinds = ["attention" if index % period == offset else "state" for index in range(layer_count(view))]
    return _mixed(view, terms, kinds, state)


def nemotron_h(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """nemotron_h.py: one letter a layer, M for Mamba-2 and * for attention; the state is float32 unless told."""
    pattern = view.word("hybrid_override_pattern")
    if pattern is not None:
        kinds = [{"M": "state", "*": "attention"}.get(letter, letter) for letter in pattern]
    else:
        kinds = _types(view, "mamba")
    heads, size = view.required("mamba_num_heads"), view.required("mamba_head_dim")
    shape = {
        "inner": heads * size,
        "groups": view.required("n_groups"),
        "heads": heads,
        "head_dim": size,
        "state": view.required("ssm_state_size"),
        "kernel": view.required("conv_kernel"),
    }
    state = mamba2_state(shape, terms, view.word("mamba_ssm_cache_dtype") or "float32")
    return _mixed(view, terms, kinds, state, checkpoints=1)


def falcon_h1(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """falcon_h1.py: attention and a Mamba-2 state side by side in every layer."""
    size, heads = head_size(view), heads_per_rank(total_kv_heads(view), terms.tp_size)
    shape = {
        "inner": view.whole("mamba_d_ssm") or view.required("mamba_expand") * hidden_size(view),
        "groups": view.required("mamba_n_groups"),
        "heads": view.required("mamba_n_heads"),
        "head_dim": view.required("mamba_d_head"),
        "state": view.required("mamba_d_state"),
        "kernel": view.required("mamba_d_conv"),
    }
    state = mamba2_state(shape, terms)
    return tuple(
        cache
        for index in range(layer_count(view))
        for cache in (attention(index, heads, size, None), _state(index, state, 1))
    )


def zamba2(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """zamba2.py: a Mamba-2 state in every layer, shared attention blocks besides in the hybrid ones."""
    size = view.required("attention_head_dim")
    heads = heads_per_rank(total_kv_heads(view), terms.tp_size)
    shape = {
        "inner": view.required("mamba_expand") * hidden_size(view),
        "groups": view.required("mamba_ngroups"),
        "heads": view.required("n_mamba_heads"),
        "head_dim": view.required("mamba_headdim"),
        "state": view.required("mamba_d_state"),
        "kernel": view.required("mamba_d_conv"),
    }
    types = view.words("layers_block_type")
    hybrid = view.wholes("hybrid_layer_ids")
    if types is None and hybrid is None:
        raise MalformedModelError("config.json has neither layers_block_type nor hybrid_layer_ids")
    wide = [index for index, kind in enumerate(types) if kind == "hybrid"] if types is not None else list(hybrid or ())
    state = mamba2_state(shape, terms)
    return (
        *(attention(index, heads, size, None) for index in wide),
        *(_state(index, state, 1) for index in range(layer_count(view))),
    )


def lfm2(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """lfm2.py: short convolutions and attention."""
    width = divide(view.whole("conv_dim") or hidden_size(view), terms.tp_size)
    state = width * (view.required("conv_L_cache") - 1) * terms.conv_bytes()
    types = view.words("layer_types")
    if types is None:
        full = view.wholes("full_attn_idxs")
        if full is None:
            raise MalformedModelError("config.json has neither layer_types nor full_attn_idxs")
        types = tuple("full_attention" if index in full else "conv" for index in range(layer_count(view)))
    kinds = ["attention" if kind == "full_attention" else "state" for kind in types]
    return _mixed(view, terms, kinds[: layer_count(view)], state)


def mamba1_alone(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """mamba.py (Mamba and Falcon-Mamba): nothing but state."""
    inner = view.whole("intermediate_size") or view.required("expand") * hidden_size(view)
    state = mamba1_state(inner, view.required("state_size"), view.required("conv_kernel"), terms)
    return tuple(_state(index, state, 0) for index in range(layer_count(view)))


def mamba2_alone(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """mamba2.py: nothing but state."""
    shape = {
        "inner": view.required("expand") * hidden_size(view),
        "groups": view.required("n_groups"),
        "heads": view.required("num_heads"),
        "head_dim": view.required("head_dim"),
        "state": view.required("state_size"),
        "kernel": view.required("conv_kernel"),
    }
    state = mamba2_state(shape, terms)
    return tuple(_state(index, state, 1) for index in range(layer_count(view)))
