"""What a rank holds beside weights and pool once vLLM has profiled itself: activations, sampler, graphs, buffers.

Source: vLLM 0.32.0, `v1/worker/gpu_worker.py` (`determine_available_memory`), `v1/worker/gpu/model_runner.py`
(`profile_run`), `layers/fused_moe/experts/triton_moe.py` (`workspace_shapes`), `attention/backends/mla/indexer.py`. The
sizes follow from the batch; how many of them are alive at once is calibrated on public logs.
"""

from dataclasses import dataclass

from kvtop.domain.figure import NOTHING, Figure
from kvtop.planning.vllm.models.cached_layers import CachedLayer, attention_heads, hidden_size
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.options.batch import Batch
from kvtop.planning.vllm.options.settings import ServeSettings
from kvtop.planning.vllm.pool.graphs import graph_bytes
from kvtop.planning.vllm.rules.profile_rules import profile_rules
from kvtop.planning.vllm.shapes import feed_forward
from kvtop.planning.vllm.specs.layer_specs import SpecKind

_GIB = 1 << 30
_MIB = 1 << 20
_CONTEXT_BYTES = (140 * _MIB, 60 * _MIB, 400 * _MIB)
"""What no tensor holds: kernels loaded, cuBLAS (llm-d: 0.13 GiB on an H100)."""
_COMMUNICATION_BYTES = (430 * _MIB, 150 * _MIB, 1100 * _MIB)
"""NCCL and custom all-reduce with several ranks (llm-d: 0.41 GiB over two)."""
_WORKSPACE_BYTES = (394 * _MIB, 0, 800 * _MIB)
"""FlashInfer's workspace, where a layer uses it (VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE)."""
_ALIVE = (1.15, 0.85, 1.6)
"""Times the widest layer's tensors: allocator slack, and what a compiled graph keeps."""
_EXPERT_CHUNK_TOKENS = 32768
"""Experts work on so many tokens at once (VLLM_FUSED_MOE_CHUNK_SIZE)."""
_SPARSE_WORKSPACE_FACTOR = 5


@dataclass(frozen=True, slots=True)
class Profiled:
    """The launch that is profiled. `version`: the engine's, None for the newest; `encoder_width` 0: no encoder."""

    config: ConfigView
    layers: tuple[CachedLayer, ...]
    settings: ServeSettings
    batch: Batch
    max_model_len: int
    backends: tuple[str, ...] = ()
    encoder_width: int = 0
    samples: bool = True
    """Whether the rank is on the last pipeline stage."""


def taken_bytes(run: Profiled) -> Figure:
    """What is taken of a rank's share beside weights and pool.

    Raises:
        MalformedModelError: the configuration lacks a size that the layers need.
    """
    rules = profile_rules(run.settings.version)
    forward = _times(_forward_bytes(run), _ALIVE)
    sampler = _sampler_bytes(run) if run.samples else NOTHING
    peak = _largest(forward, sampler, _encoder_bytes(run))
    parts = [peak, _triple(_CONTEXT_BYTES), _buffers(run)]
    if run.settings.tp_size * run.settings.pp_size * run.settings.dp_size > 1:
        parts.append(_triple(_COMMUNICATION_BYTES))
    if any("FLASHINFER" in backend for backend in run.backends):
        parts.append(_triple(_WORKSPACE_BYTES))
    if rules.counts_graphs and not run.settings.eager:
        parts.append(graph_bytes(run.settings, run.batch))
    return sum(parts[1:], parts[0])


def _triple(sizes: tuple[float, float, float]) -> Figure:
    likely, least, most = sizes
    return Figure.estimated(int(likely), int(least), int(most))


def _times(size: float, ratios: tuple[float, float, float]) -> Figure:
    likely, least, most = ratios
    return _triple((size * likely, size * least, size * most))


def _largest(*amounts: Figure) -> Figure:
    return Figure.estimated(
        max(it.value_bytes or 0 for it in amounts),
        max(it.least_bytes for it in amounts),
        max(it.most_bytes or 0 for it in amounts),
    )


def _sampler_bytes(run: Profiled) -> Figure:
    """The dummy batch has a row for every sequence; its hidden states are still there."""
    rows = min(run.batch.max_seqs, run.batch.max_batched_tokens)
    vocabulary = run.config.required("vocab_size")
    rules = profile_rules(run.settings.version)
    copies = rules.sampler_copies if not run.encoder_width else rules.multimodal_copies
    hidden = run.batch.max_batched_tokens * hidden_size(run.config) * 2
    logits = _times(rows * vocabulary * 4, copies)
    low, most = logits.least_bytes, (logits.most_bytes or 0) + 2 * hidden
    return Figure.estimated((logits.value_bytes or 0) + hidden, low, most)


def _buffers(run: Profiled) -> Figure:
    """What stays allocated: counts of sampled tokens, workspaces of sparse attention, buffers of experts."""
    size = 0
    if profile_rules(run.settings.version).keeps_counts:
        size += run.batch.max_seqs * (run.config.whole("vocab_size") or 0) * 4
    spread = 0
    if any(layer.is_indexer for layer in run.layers):
        # Keys that a prefill gathers: 8 times the factor for each token of a sequence, and latent rows of FlashMLA.
        spread += run.max_model_len * (576 * 2 // 132) * _SPARSE_WORKSPACE_FACTOR * 132
        size += run.batch.max_batched_tokens * (run.config.whole("index_topk") or 0) * 4
    return Figure.estimated(size + spread // 2, size, size + spread + 256 * _MIB)


def _encoder_bytes(run: Profiled) -> Figure:
    """One item of the largest size goes through the encoder, and its result stays beside the text model's pass."""
    if not run.encoder_width or run.settings.language_model_only or run.settings.skips_encoder_profile:
        return NOTHING
    tokens = max(run.batch.max_batched_tokens, 4096)
    patches = min(4 * tokens, 65536)
    return _times(patches * run.encoder_width * 2 * 12, (1.0, 0.3, 2.2))


def _forward_bytes(run: Profiled) -> float:
    """The widest moment of a layer for the whole batch, in the model's 16 bits."""
    config, settings = run.config, run.settings
    width, ranks, tokens = hidden_size(config), settings.tp_size, run.batch.max_batched_tokens
    widest = _mixing_width(config, run.layers) / ranks
    if feed_forward.expert_count(config):
        chosen = feed_forward.experts_per_token(config)
        spread = ranks * settings.dp_size
        inner = feed_forward.expert_width(config) / (1 if settings.expert_parallel else spread)
        several = settings.dp_size if settings.expert_parallel else 1
        experts = chosen * (max(inner, width) + max(2 * inner, width))
        # With expert parallelism over data ranks each sees the batches of all.
        widest = max(widest, experts * min(several, 4) * min(1.0, _EXPERT_CHUNK_TOKENS / max(tokens * several, 1)))
    elif config.raw("block_configs") is None:
        widest = max(widest, 3 * feed_forward.dense_width(config) / ranks)
    return tokens * 2.0 * (3 * width + widest)


def _mixing_width(config: ConfigView, layers: tuple[CachedLayer, ...]) -> float:
    heads = attention_heads(config) if config.whole("num_attention_heads", "n_head") else 0
    found = 0.0
    kinds = {layer.kind for layer in layers}
    if SpecKind.MLA in kinds:
        head = (config.whole("qk_nope_head_dim") or 0) + (config.whole("qk_rope_head_dim") or 0)
        found = heads * (2.0 * head + 2 * (config.whole("v_head_dim") or 0))
    attending = [layer for layer in layers if layer.kind not in (SpecKind.MLA, SpecKind.MAMBA)]
    if attending:
        found = max(found, 3.0 * heads * max(layer.head_size for layer in attending))
    if SpecKind.MAMBA in kinds:
        found = max(found, 6.0 * hidden_size(config))
    return found
