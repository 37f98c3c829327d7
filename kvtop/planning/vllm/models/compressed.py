"""DeepSeek V4: a window of plain latent rows on every layer, compressed rows for all tokens, and states between them.

Source: vLLM 0.32.0, `models/deepseek_v4/attention.py`, `compressor.py` (`get_kv_cache_spec`): rows of 584 bytes, pages
in multiples of 576. The specs are the class's own: `--block-size` and attention backends do not change them.
"""

from dataclasses import dataclass

from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.models.cached_layers import BuildTerms, CachedLayer, layer_count
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.specs.groups import COMPRESSED
from kvtop.planning.vllm.specs.layer_specs import LayerSpec, SpecKind

_ROW_BYTES, _ALIGNMENT_BYTES = 584, 576
_BLOCK_TOKENS, _WINDOW_BLOCK_TOKENS = 256, 64
_STATE_BLOCKS = {4: 4, 128: 8}
"""Tokens a block of compressor state, by how many tokens it joins."""
_STATE_WINDOWS = {4: 8, 128: 128}


@dataclass(frozen=True, slots=True)
class _Rows:
    tokens: int
    row_bytes: int


def deepseek_v4(view: ConfigView, _terms: BuildTerms) -> tuple[CachedLayer, ...]:
    """deepseek_v4: by `compress_ratios`, 0 or 1 for a window alone."""
    ratios = view.wholes("compress_ratios")
    count = layer_count(view)
    if ratios is None or len(ratios) < count:
        raise NoExactRuleError("config.json has no compress_ratios for every layer")
    window = view.required("sliding_window")
    caches: list[CachedLayer] = []
    for index in range(count):
        caches.append(swa_layer(index, window))
        ratio = ratios[index]
        if ratio <= 1:
            continue
        if ratio not in _STATE_BLOCKS:
            raise NoExactRuleError(f"compress_ratios has {ratio}, for which kvtop has no rule")
        caches.append(_fixed(index, _rows(_Rows(_BLOCK_TOKENS // ratio, _ROW_BYTES))))
        caches.append(_fixed(index, _state(ratio)))
        if ratio == 4:
            key = view.required("index_head_dim")
            caches.append(_fixed(index, _rows(_Rows(_BLOCK_TOKENS // ratio, key + key // 128 * 4))))
            caches.append(_fixed(index, _state(ratio)))
    return tuple(caches)


def swa_layer(index: int, window: int) -> CachedLayer:
    """The window of plain rows, which a draft's layer has too."""
    page = _aligned(_WINDOW_BLOCK_TOKENS * _ROW_BYTES)
    spec = LayerSpec(
        SpecKind.SLIDING,
        _WINDOW_BLOCK_TOKENS,
        _ROW_BYTES,
        window=window,
        page_padded=page,
        role=COMPRESSED,
        dcp_sharded=False,
    )
    return _fixed(index, spec)


def _rows(rows: _Rows) -> LayerSpec:
    page = _aligned(rows.tokens * rows.row_bytes)
    return LayerSpec(SpecKind.MLA, _BLOCK_TOKENS, -(-page // _BLOCK_TOKENS), page_padded=page, role=COMPRESSED)


def _state(ratio: int) -> LayerSpec:
    """Its page is that of the rows that it shares the pool with: it adds nothing to a block."""
    block = _STATE_BLOCKS[ratio]
    return LayerSpec(
        SpecKind.SLIDING, block, 1, window=_STATE_WINDOWS[ratio], page_padded=0, role=COMPRESSED, dcp_sharded=False
    )


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def _fixed(index: int, spec: LayerSpec) -> CachedLayer:
    return CachedLayer(index, spec.kind, 1, 512, 0, window=spec.window, fixed=spec)
