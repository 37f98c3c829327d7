"""Compute buffers of llama.cpp: what the scheduler reserves for one full micro-batch (`sched_reserve`, b11434).

The graph is written down block by block, scheduled over the devices and allocated the way ggml does it; the highest
address is the buffer's size. Over 14,012 buffers of 52 models at real size under random mixes of options, 78 % come out
to the byte and 95 % within 2 %; the ranges hold 99 % of them, and at least 97 % in every family:

    everything on one accelerator, or no accelerator        3 %
    several accelerators, or ROCm                          10 %
    weights or caches in host memory                       15 %
    the same, of models with states or layer inputs        40 %
    architectures that no recorded model has               30 % at least
    other APIs than CUDA and ROCm                          30 % at least
    graphs that are only roughly known                     a tenth to eight times

Attention over a cache in host memory without flash attention is a case of its own: the engine's projection and the
server differ, and the range holds both.
"""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.domain.figure import Figure
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.flash_attention import cuda_fuses
from kvtop.planning.llamacpp.graph.allocation import Script, script_of
from kvtop.planning.llamacpp.graph.graph import Graph
from kvtop.planning.llamacpp.graph.lengths import LengthKey, Lengths, length_key
from kvtop.planning.llamacpp.graph.model_blocks import Block, Blocks, blocks_of, prediction_block
from kvtop.planning.llamacpp.graph.model_graph import write_graph, write_prediction
from kvtop.planning.llamacpp.graph.schedule import assign, schedule
from kvtop.planning.llamacpp.memory.attention_scratch import Scratch, scratch_of
from kvtop.planning.llamacpp.memory.layout import ModelLayout
from kvtop.planning.llamacpp.memory.placement import HOST
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.options.settings import LlamaSettings

SOURCE = "model of llama.cpp's worst-case graph, plus the output buffer"
"""Who says it: a `Figure.source`."""
_F32_BYTES = 4
_PIPELINE_COPIES = 4
_CONVERTED_ALIKE = dict.fromkeys(("q4_0", "q4_1", "q5_0", "q5_1"), "q8_0")
"""Cache types that make no difference: the fused kernels convert whatever is not f16."""
_COPIED_ALIKE = {"q4_0": "iq4_nl", "bf16": "f16"}
"""Where attention runs on the host instead, only the sizes of what is copied there count."""
_SETTLED, _PIPELINE, _UNMEASURED, _STAGED, _STAGED_STATES = 0.03, 0.1, 0.3, 0.15, 0.4
_UNEVENLY = 0.4
_OTHER_BUILD, _OTHER_BUILD_STATES = 0.1, 0.4
"""Of builds whose own graphs are not written down."""
_BY_API = {"": 0.0, "cuda": 0.0, "rocm": _PIPELINE}
"""At least this much by the API of the accelerators: no buffer of the others was measured with this build, and ROCm
has other kernels of the same sources."""
_VECTOR_ROWS = 2
"""Queries of a sequence up to which CUDA may attend by vectors (`ggml_cuda_get_best_fattn_kernel`)."""
_SLACK_BYTES = 512 * 1024
"""What small buffers may be off by whatever their size."""


def estimate(
    prepared: PreparedModel,
    context: ResolvedContext,
    settings: LlamaSettings,
    layout: ModelLayout,
    *,
    prediction: bool = False,
    as_projected: bool = False,
    with_fusions: bool = True,
) -> dict[str, Figure]:
    """Compute buffers in bytes by device name, "host" included, each with a range meant to hold 95 % of cases.

    `prediction`: of the second context that draft-mtp opens, whose graph is one block. `as_projected`: the engine's own
    projection is the value, where it differs from what the server reserves. `with_fusions`: the high end holds what
    ggml-cuda adds for fused mixtures (`ggml_backend_cuda_graph_optimize`): read in its source, not seen on a card yet.
    """
    peaks = buffer_bytes(prepared, context, settings, layout, prediction=prediction, as_projected=as_projected)
    projected = peaks
    if not as_projected and layout.placement.kv_on_host and layout.placement.devices and not context.flash_attention:
        # The engine's own projection (`--fit`, llama-fit-params) forgets that it puts attention over a cache in host
        # memory on the CPU (`ggml_backend_sched_reserve_size` resets the assignment first); the server does not.
        projected = buffer_bytes(prepared, context, settings, layout, prediction=prediction, as_projected=True)
    if layout.placement.devices and 0 < _rows_of_a_stream(context) <= _VECTOR_ROWS:
        # CUDA may choose kernels that convert nothing.
        return {name: _estimated(value, value // 50, 2 * max(value, projected[name])) for name, value in peaks.items()}
    if prepared.hparams.traits.graph == "roughly_known":
        most = max(peaks.values())
        if prepared.hparams.traits.chooses_blocks:
            most += _block_scores_bytes(prepared.hparams, context)
            peaks = {name: most if value == max(peaks.values()) else value for name, value in peaks.items()}
        return {name: _estimated(value, value // 10, 8 * max(value, most)) for name, value in peaks.items()}
    blocks = blocks_of(prepared, layout)
    spread = _spread(prepared.hparams, layout, blocks)
    if prediction:
        # Equal to the page for the one model that was recorded; no other architecture's was.
        spread = max(spread, _STAGED if prediction_block(prepared, layout) is not None else _STAGED_STATES)
    found = {name: _ranged(value, projected[name], spread) for name, value in peaks.items()}
    if not with_fusions or prepared.hparams.n_expert == 0 or not layout.placement.devices:
        return found
    fused = buffer_bytes(
        prepared, context, settings, layout, prediction=prediction, as_projected=as_projected, with_fusions=True
    )
    return {
        name: replace(it, high_bytes=max(_high(it), _high(_ranged(fused[name], fused[name], spread))))
        for name, it in found.items()
    }


def _block_scores_bytes(hparams: HParams, context: ResolvedContext) -> int:
    """What choosing blocks takes in MiniMax M3: two masks of all cells, and twice the scores of every indexer head.

    Without flash attention, or with several sequences in one pool, it attends to everything instead.
    """
    if not context.flash_attention or (context.kv_unified and context.n_seq_max > 1):
        return 0
    rows = min(context.n_ctx, context.n_ubatch)
    per_head = _F32_BYTES * context.n_ctx_seq * rows
    return 2 * per_head + 2 * hparams.indexer_n_head * per_head // context.n_stream


def _rows_of_a_stream(context: ResolvedContext) -> int:
    return max(min(context.n_ctx, context.n_ubatch), context.n_seq_max) // context.n_stream


def _estimated(value: int, low: int, high: int) -> Figure:
    return Figure.estimated(value, low, high, SOURCE)


def _high(figure: Figure) -> int:
    return figure.most_bytes or 0


def _ranged(value: int, projected: int, spread: float) -> Figure:
    low, high = min(value, projected), max(value, projected)
    if not high:
        return _estimated(0, 0, 0)
    return _estimated(
        value, max(0, low - max(int(low * spread), _SLACK_BYTES)), high + max(int(high * spread), _SLACK_BYTES)
    )


def _spread(hparams: HParams, layout: ModelLayout, blocks: Blocks) -> float:
    placement = layout.placement
    spread = _SETTLED if hparams.traits.graph == "measured" else _UNMEASURED
    if not hparams.build.knows_graphs:
        plain = hparams.traits.memory == "cache"
        spread = max(spread, _OTHER_BUILD if plain else _OTHER_BUILD_STATES)
    spread = max(spread, _BY_API.get(layout.compute_api, _UNMEASURED))
    if len(placement.devices) > 1:
        spread = max(spread, _PIPELINE)
    if hparams.traits.copies_unevenly:
        spread = max(spread, _UNEVENLY if len(placement.devices) > 1 or blocks.mixed else _STAGED)
    if blocks.mixed and placement.devices:
        uneven = any(hparams.is_recurrent) or "per_layer_token_embd" in blocks.others
        spread = max(spread, _STAGED_STATES if uneven else _STAGED)
    return spread


def buffer_bytes(
    prepared: PreparedModel,
    context: ResolvedContext,
    settings: LlamaSettings,
    layout: ModelLayout,
    *,
    prediction: bool = False,
    as_projected: bool = False,
    with_fusions: bool = False,
) -> Mapping[str, int]:
    """The replayed size of each device's buffer.

    `as_projected`: attention over a cache in host memory is not forced onto the CPU. `with_fusions`: as `estimate`.
    """
    types = context.type_k, context.type_v
    if not blocks_of(prepared, layout).mixed:
        alike = _COPIED_ALIKE if "iq4_nl" in types else _CONVERTED_ALIKE
        types = alike.get(types[0], types[0]), alike.get(types[1], types[1])
    # Only a plain "off" transposes V: the cache is created before "auto" is resolved.
    transposed = settings.flash_attention == "off" or not prepared.hparams.traits.fuses_attention
    on_cpu = layout.placement.kv_on_host and not as_projected
    switches = settings.op_offload, transposed, prediction, on_cpu, with_fusions
    key = (layout, switches, *length_key(context, prepared.hparams, types))
    return prepared.remember(
        (context.n_ctx_seq, *key),
        lambda: _peaks(prepared, replace(context, type_k=types[0], type_v=types[1]), layout, switches, key),
    )


def attention_stays(
    prepared: PreparedModel, context: ResolvedContext, settings: LlamaSettings, layout: ModelLayout
) -> bool:
    """Whether fused attention would run on the device of its block, as `--flash-attn auto` asks (`resolve_fused_ops`).

    The engine looks at the graph of one token a sequence. Weights and caches in host memory may draw attention there.
    """
    placement = layout.placement
    blocks = blocks_of(prepared, layout)
    if (
        not blocks.mixed
        or not placement.devices
        or all(_attends_at_home(block, len(placement.devices)) for block in blocks.walked)
    ):
        return True
    tokens = context.n_seq_max
    probed = replace(context, n_ubatch=tokens, n_outputs_max=tokens, flash_attention=True)
    graph = Graph(len(placement.devices), settings.op_offload, _scratch(prepared, layout))
    write_graph(graph, prepared.hparams, blocks, probed, value_transposed=False, cache_on_host=placement.kv_on_host)
    assign(graph)
    return all(tensor.device == home for tensor, home in graph.fused)


def _attends_at_home(block: Block, host: int) -> bool:
    """Whether all but a block's feed-forward part lies on its accelerator: nothing draws attention elsewhere then."""
    return block.cache_home == block.home != host and all(
        weight.home == block.home for name, weight in block.weights.items() if not name.startswith("ffn_")
    )


def _peaks(
    prepared: PreparedModel,
    context: ResolvedContext,
    layout: ModelLayout,
    switches: tuple[bool, ...],
    key: LengthKey,
) -> Mapping[str, int]:
    names = (*layout.placement.devices, HOST)
    lengths = prepared.remember(
        ("lengths", *key), lambda: Lengths([layout.buffers[name].alignment_bytes for name in names])
    )
    peaks = lengths.peaks(context.n_ctx_seq, lambda: _script(prepared, context, layout, switches))
    return dict(zip(names, peaks, strict=True))


def _scratch(prepared: PreparedModel, layout: ModelLayout) -> Scratch:
    return scratch_of(layout.compute_api, prepared.hparams.build.build)


def _script(
    prepared: PreparedModel,
    context: ResolvedContext,
    layout: ModelLayout,
    switches: tuple[bool, ...],
) -> Script:
    offloads, value_transposed, prediction, on_cpu, with_fusions = switches
    placement = layout.placement
    host = len(placement.devices)
    types = (context.type_k, context.type_v)
    attends = next((layer for layer, heads in enumerate(prepared.hparams.n_head_kv) if heads), None)
    on_host = context.flash_attention and host > 0 and attends is not None
    on_host = on_host and not cuda_fuses(prepared.hparams, attends or 0, types)
    blocks = blocks_of(prepared, layout, on_host)
    if prediction:
        attending = [block for block in blocks.walked if "attn_output" in block.weights]
        blocks = replace(blocks, walked=tuple(attending[-1:]))
    graph = Graph(host, offloads and host > 0, _scratch(prepared, layout))
    graph.keeps_experts = with_fusions
    own = prediction_block(prepared, layout) if prediction else None
    if own is not None:
        write_prediction(
            graph,
            prepared.hparams,
            own,
            blocks.others,
            context,
            value_transposed=value_transposed,
            cache_on_host=on_cpu,
        )
    else:
        write_graph(
            graph,
            prepared.hparams,
            blocks,
            context,
            value_transposed=value_transposed,
            cache_on_host=on_cpu,
        )
    ordered = schedule(graph, _PIPELINE_COPIES if placement.pipeline_parallel else 1)
    return script_of([*graph.inputs, *graph.constants], ordered, host)
