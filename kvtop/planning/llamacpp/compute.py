"""Compute buffers of llama.cpp: what the scheduler reserves for one full micro-batch (`sched_reserve`, b11434).

The graph is written down block by block, scheduled over the devices and allocated the way ggml does it; the highest
address is the buffer's size. What the replay leaves out (blocks of rarer architectures, staged copies in odd orders)
is what the stated range is for.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from kvtop.domain.plan import Estimate
from kvtop.planning.llamacpp.buffers import BufferRule
from kvtop.planning.llamacpp.compute_allocation import peak_bytes
from kvtop.planning.llamacpp.compute_graph import Graph
from kvtop.planning.llamacpp.compute_layers import blocks_of
from kvtop.planning.llamacpp.compute_model import OFFLOADED_ROWS, write_graph
from kvtop.planning.llamacpp.compute_schedule import schedule
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.layout import Layout
from kvtop.planning.llamacpp.placement import HOST, Placement, override_rules
from kvtop.planning.llamacpp.prepared import PreparedModel
from kvtop.planning.llamacpp.settings import LlamaSettings

_PIPELINE_COPIES = 4
_SPREAD = 0.15


def estimate(
    prepared: PreparedModel, context: ResolvedContext, settings: LlamaSettings, layout: Layout
) -> dict[str, Estimate]:
    """Compute buffers in bytes by device name, "host" included, each with a range meant to hold 95 % of cases."""
    peaks = buffer_bytes(prepared, context, settings, layout)
    return {
        name: Estimate(value, int(value * (1 - _SPREAD)), int(value * (1 + _SPREAD))) for name, value in peaks.items()
    }


def buffer_bytes(
    prepared: PreparedModel, context: ResolvedContext, settings: LlamaSettings, layout: Layout
) -> Mapping[str, int]:
    """The replayed size of each device's buffer."""
    overrides = override_rules(settings)
    mixed = blocks_of(prepared, layout.placement, overrides).mixed
    kept = context if mixed else replace(context, type_k=_kind(context.type_k), type_v=_kind(context.type_v))
    rules = tuple(layout.buffers[name] for name in (*layout.placement.devices, HOST))
    # Only a plain "off" transposes V: the cache is created before "auto" is resolved.
    transposed = settings.flash_attention == "off" or prepared.hparams.arch == "grok"
    return _peaks(prepared, kept, layout.placement, overrides, settings.op_offload, transposed, rules)


def _kind(cache_type: str) -> str:
    """One type for all that are treated alike: the fused kernels copy whatever is not f16."""
    if cache_type in {"f16", "f32", "bf16", "iq4_nl"}:
        return cache_type
    return "q8_0"


@lru_cache(maxsize=512)
def _peaks(
    prepared: PreparedModel,
    context: ResolvedContext,
    placement: Placement,
    overrides: tuple[tuple[str, str], ...],
    offloads: bool,
    value_transposed: bool,
    rules: tuple[BufferRule, ...],
) -> Mapping[str, int]:
    host = len(placement.devices)
    blocks = blocks_of(prepared, placement, overrides)
    graph = Graph(host, offloads and host > 0 and min(context.n_ctx, context.n_ubatch) >= OFFLOADED_ROWS)
    write_graph(
        graph,
        prepared.hparams,
        blocks,
        context,
        value_transposed=value_transposed,
        cache_on_host=placement.kv_on_host,
    )
    ordered = schedule(graph, _PIPELINE_COPIES if placement.pipeline_parallel else 1)
    peaks = peak_bytes([*graph.inputs, *graph.constants], ordered, [rule.alignment_bytes for rule in rules])
    return dict(zip((*placement.devices, HOST), peaks, strict=True))
