"""Model classes with latent attention (MLA), plain or sparse with an indexer (DSA).

Source: vLLM 0.32.0, `model_executor/models/deepseek_v2.py`, `models/deepseek_v32`, `layers/attention/mla_attention.py`.
"""

from kvtop.domain.plan import MalformedModelError
from kvtop.planning.vllm.models.cached_layers import (
    BuildTerms,
    CachedLayer,
    head_size,
    heads_per_rank,
    kda_state,
    layer_count,
    total_kv_heads,
)
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.specs.layer_specs import SpecKind

INDEXER_SCALE_BLOCK = 128
"""Elements that share one 4-byte scale in the indexer's FP8 cache (`deepseek_v2.py`, quant_block_size)."""


def latent(index: int, view: ConfigView, *, sparse: bool = False) -> CachedLayer:
    """One latent vector per token, the same on every tensor-parallel rank."""
    size = view.required("kv_lora_rank") + (view.whole("qk_rope_head_dim") or 0)
    return CachedLayer(index, SpecKind.MLA, 1, size, 0, sparse=sparse)


def indexer(index: int, view: ConfigView) -> CachedLayer:
    """The indexer's keys: FP8 with a scale per block of elements."""
    size = view.required("index_head_dim")
    cell = size + size // INDEXER_SCALE_BLOCK * 4
    return CachedLayer(index, SpecKind.MLA, 1, cell, 0, cell_bytes=cell, sparse=True)


def mla(view: ConfigView, _terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """DeepSeek-V2/V3 and everything built on that class; with `index_topk` each layer has an indexer besides."""
    caches: list[CachedLayer] = []
    sparse = view.whole("index_topk") is not None
    for index in range(layer_count(view)):
        if sparse and picks_tokens(view, index):
            caches.append(indexer(index, view))
        caches.append(latent(index, view, sparse=sparse))
    return tuple(caches)


def picks_tokens(view: ConfigView, index: int) -> bool:
    """Whether a layer has an indexer of its own; others take the tokens that the one before them picked.

    `index_topk_pattern` has a letter a layer, "S" for those that share; else every `index_topk_freq`-th has one.
    """
    pattern = view.raw("index_topk_pattern")
    if isinstance(pattern, str | list | tuple):
        return not (index < len(pattern) and pattern[index] == "S")
    every, offset = view.whole("index_topk_freq") or 1, view.whole("index_skip_topk_offset")
    return max(index - (2 if offset is None else offset) + 1, 0) % every == 0


def longcat(view: ConfigView, _terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """longcat_flash.py: two attention layers in each of `num_layers`."""
    return tuple(latent(index, view) for index in range(view.required("num_layers")) for _ in range(2))


def kimi_linear(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """kimi_linear: delta attention on the layers that `linear_attn_config` names (counted from one), MLA on others."""
    linear = view.part("linear_attn_config")
    heads, size, kernel = (linear.get(name) for name in ("num_heads", "head_dim", "short_conv_kernel_size"))
    named = linear.get("kda_layers")
    recurrent = set(named) if isinstance(named, list | tuple) else set()
    state = 0
    if isinstance(heads, int) and isinstance(size, int) and isinstance(kernel, int):
        state = kda_state(heads, size, kernel, terms)
    return tuple(
        CachedLayer(index, SpecKind.MAMBA, state_bytes=state) if index + 1 in recurrent else latent(index, view)
        for index in range(layer_count(view))
    )


def minimax_m3(view: ConfigView, terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """minimax_m3: ordinary keys and values, and on sparse layers a 16-bit key with which blocks are picked."""
    heads, size = heads_per_rank(total_kv_heads(view), terms.tp_size), head_size(view)
    sparse = view.part("sparse_attention_config")
    marks, width = sparse.get("sparse_attention_freq"), sparse.get("sparse_index_dim")
    if not isinstance(marks, list | tuple) or not isinstance(width, int):
        raise MalformedModelError("config.json has no sparse_attention_config")
    caches: list[CachedLayer] = []
    for index in range(layer_count(view)):
        if index < len(marks) and marks[index] == 1:
            caches.append(CachedLayer(index, SpecKind.MLA, 1, 2 * width, 0, cell_bytes=2 * width, sparse=True))
        caches.append(CachedLayer(index, SpecKind.FULL, heads, size, size))
    return tuple(caches)
