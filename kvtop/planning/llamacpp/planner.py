"""What a llama-server will take, before it runs: the engine's own allocation, computed from header and options.

Checked on llama.cpp b11434; the sources of the rules are named where they are applied.
"""

from dataclasses import replace

from kvtop.domain.figure import Figure
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import (
    CachePart,
    ContextPlan,
    DeviceShare,
    MemoryPlan,
    NoExactRuleError,
    PlanDevice,
    Refusal,
)
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.arithmetic import copied_bytes
from kvtop.planning.llamacpp.context import ContextRequest, ResolvedContext, request_of, resolve_context
from kvtop.planning.llamacpp.derivation import derivation, warnings_of
from kvtop.planning.llamacpp.flash_attention import has_fused_attention, resolve_flash_attention
from kvtop.planning.llamacpp.graph.compute_buffers import attention_stays, estimate
from kvtop.planning.llamacpp.memory.buffers import LEAST_ALIGNMENT_BYTES, MOST_ALIGNMENT_BYTES, doubt
from kvtop.planning.llamacpp.memory.inexact_buffers import with_ranges
from kvtop.planning.llamacpp.memory.kv_cache import CacheGroup, bytes_per_token, group_bytes, group_cells
from kvtop.planning.llamacpp.memory.layout import ModelLayout, layout_of
from kvtop.planning.llamacpp.memory.placement import HOST
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.memory.recurrent import recurrent_bytes
from kvtop.planning.llamacpp.model_plan import ModelPlan, held_on, scratch_on
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.refusals import context_refusal, tensor_split_refusal
from kvtop.planning.llamacpp.saved_state import host_growth
from kvtop.planning.versions import as_estimate

_F32_BYTES = 4


def plan(
    model: GgufHeader | PreparedModel,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    draft: GgufHeader | PreparedModel | None = None,
) -> MemoryPlan | Refusal:
    """Memory of a llama-server with these settings on these devices, to the byte but for compute buffers.

    `draft` is the header of `settings.draft`. Returns a Refusal in the engine's words where it would not start.
    Raises NoExactRuleError where kvtop has no exact rule for the model or an option.
    """
    prepared = prepare(model) if isinstance(model, GgufHeader) else model
    if settings.draft is not None and draft is None:
        raise NoExactRuleError("the plan needs the header of the draft model")
    both = _plan_both(prepared, settings, devices, draft)
    if isinstance(both, Refusal):
        return both
    found = _assemble(settings, devices, *both)
    reasons = {device.name: doubt(device) for device in devices if doubt(device)}
    ends = []
    for alignment_bytes in (LEAST_ALIGNMENT_BYTES, MOST_ALIGNMENT_BYTES) if reasons else ():
        aligned = (replace(it, buffer_alignment_bytes=alignment_bytes) if doubt(it) else it for it in devices)
        end = _plan_both(prepared, settings, tuple(aligned), draft)
        if isinstance(end, Refusal):
            return end
        ends.append({name: held_on(name, end, end[0].rule) for name in reasons})
    ranged = with_ranges(found, *ends, reasons=reasons) if ends else found
    return as_estimate(ranged, prepared.doubt) if prepared.doubt else ranged


def _plan_both(
    prepared: PreparedModel,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    draft: GgufHeader | PreparedModel | None,
) -> tuple[ModelPlan, ModelPlan | None] | Refusal:
    """The target model, and the draft model or second context where there is one."""
    target = plan_model(prepared, settings, devices)
    if isinstance(target, Refusal):
        return target
    second = plan_second(target, settings, devices, draft)
    return second if isinstance(second, Refusal) else (target, second)


def plan_model(
    prepared: PreparedModel, settings: LlamaSettings, devices: tuple[PlanDevice, ...]
) -> ModelPlan | Refusal:
    """The target model with its context, without a draft. Raises as `plan`."""
    hparams = prepared.hparams
    refusal = tensor_split_refusal(hparams, settings, bool(devices) and settings.devices != ("none",))
    if refusal is not None:
        return refusal
    request = request_of(settings, hparams)
    layout = layout_of(prepared, settings, devices, settings.gpu_layers)
    if isinstance(layout, Refusal):
        return layout
    embeddings = hparams.n_embd_out if settings.embeddings else 0
    return _plan_context(prepared, request, layout, devices, settings, embeddings)


def plan_second(
    target: ModelPlan,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    draft: GgufHeader | PreparedModel | None,
) -> ModelPlan | Refusal | None:
    """The draft model, or the second context of draft-mtp; None where there is neither. Raises as `plan`."""
    if settings.draft is not None and draft is not None:
        return _plan_draft(draft, settings, devices, target.context)
    if "draft-mtp" in settings.speculative_types:
        return _plan_prediction(target.prepared, settings, target)
    return None


def _plan_context(
    prepared: PreparedModel,
    request: ContextRequest,
    layout: ModelLayout,
    devices: tuple[PlanDevice, ...],
    settings: LlamaSettings,
    embedding_values: int = 0,
) -> ModelPlan | Refusal:
    hparams, flash_attention = prepared.hparams, settings.flash_attention
    refusal = context_refusal(hparams, request, flash_attention)
    if refusal is not None:
        return refusal
    fused = resolve_flash_attention(
        hparams,
        flash_attention,
        CACHE_TYPES[request.type_v].is_quantized,
        prepared.remember(
            ("fused", layout, request.type_k, request.type_v),
            lambda: has_fused_attention(hparams, layout.placement, devices, (request.type_k, request.type_v)),
        ),
    )
    if not fused and CACHE_TYPES[request.type_v].is_quantized and hparams.build.unfused_values_words:
        return Refusal("llama.cpp", f"llama_init_from_model: {hparams.build.unfused_values_words}")
    context = resolve_context(request, hparams, fused)
    if fused and flash_attention == "auto" and not CACHE_TYPES[request.type_v].is_quantized:
        context = replace(context, flash_attention=attention_stays(prepared, context, settings, layout))
    # The cache is created before `auto` is resolved, so only a plain "off" transposes V.
    transposed = flash_attention == "off" or not hparams.traits.fuses_attention
    groups = layout.transposed_caches if transposed else layout.caches
    caches = _cache_bytes(groups, context, layout)
    if isinstance(caches, Refusal):
        return caches
    recurrent = dict.fromkeys(layout.buffers, 0)
    for group in layout.recurrent:
        recurrent[group.device] += recurrent_bytes(group, context, layout.buffers)
    parts = _parts(groups, context, layout)
    if layout.recurrent:
        layers = sum(group.layers for group in layout.recurrent)
        parts = (*parts, CachePart("recurrent", sum(recurrent.values()), layers, None))
    output_bytes = (hparams.n_vocab + embedding_values) * context.n_seq_max * _F32_BYTES
    return ModelPlan(prepared, context, layout, caches, recurrent, parts, groups, output_bytes)


def _cache_bytes(
    groups: tuple[CacheGroup, ...], context: ResolvedContext, layout: ModelLayout
) -> dict[str, int] | Refusal:
    totals = dict.fromkeys(layout.buffers, 0)
    for group in groups:
        size_bytes = group_bytes(group, context, layout.buffers[group.device])
        if isinstance(size_bytes, Refusal):
            return size_bytes
        totals[group.device] += size_bytes
    return totals


def _parts(
    groups: tuple[CacheGroup, ...], context: ResolvedContext, layout: ModelLayout, kind: str | None = None
) -> tuple[CachePart, ...]:
    """Sums over devices by kind of cache; `kind` puts them all under one name."""
    sums: dict[str, tuple[int, int, int]] = {}
    for group in groups:
        size_bytes = group_bytes(group, context, layout.buffers[group.device])
        if isinstance(size_bytes, Refusal):
            continue
        name = kind or group.kind
        bytes_before, layers_before, _ = sums.get(name, (0, 0, 0))
        sums[name] = bytes_before + size_bytes, layers_before + group.layers, group_cells(group, context)
    return tuple(CachePart(name, *amounts) for name, amounts in sums.items())


def _plan_draft(
    draft: GgufHeader | PreparedModel, settings: LlamaSettings, devices: tuple[PlanDevice, ...], target: ResolvedContext
) -> ModelPlan | Refusal:
    """The draft model of `-md`: as many cells, sequences and streams as the target, its own types and layers.

    `common_base_params_to_speculative` and `common_speculative_init_result` (common/speculative.cpp).
    """
    own = settings.draft
    unknown = set(settings.speculative_types) & {"draft-mtp", "draft-eagle3", "draft-dflash", "draft-dspark"}
    if own is None or unknown:
        raise NoExactRuleError(f"kvtop has no memory rule for a draft model with {', '.join(sorted(unknown))}")
    prepared = prepare(draft) if isinstance(draft, GgufHeader) else draft
    changed = replace(
        settings,
        tensor_overrides=own.tensor_overrides,
        cpu_moe=own.cpu_moe,
        cpu_moe_layers=own.cpu_moe_layers,
        cpu_ffn_layers=0,
        devices=own.devices or settings.devices,
        # A draft on a device of its own needs no split.
        split_mode="layer" if len(own.devices) == 1 and own.devices != ("none",) else settings.split_mode,
    )
    layout = layout_of(prepared, replace(changed, speculative_types=()), devices, own.gpu_layers)
    if isinstance(layout, Refusal):
        return layout
    request = replace(_second_request(settings, prepared, target), type_k=own.type_k, type_v=own.type_v)
    return _plan_context(prepared, request, layout, devices, changed)


def _second_request(settings: LlamaSettings, prepared: PreparedModel, target: ResolvedContext) -> ContextRequest:
    asked = request_of(replace(settings, embeddings=False, speculative_types=()), prepared.hparams)
    return replace(
        asked, ctx_tokens=target.n_ctx, n_rs_seq=0, n_outputs_max=target.n_seq_max, n_batch=settings.batch_tokens
    )


def _plan_prediction(prepared: PreparedModel, settings: LlamaSettings, target: ModelPlan) -> ModelPlan | Refusal:
    """The second context of draft-mtp: a cache for the prediction blocks only, on the target's own weights."""
    hparams = prepared.hparams
    if hparams.n_layer_nextn == 0:
        return Refusal("llama.cpp", "context type MTP requested but model doesn't contain MTP layers")
    request = replace(
        _second_request(settings, prepared, target.context),
        type_k=settings.draft_type_k,
        type_v=settings.draft_type_v,
    )
    refusal = context_refusal(hparams, request, settings.flash_attention)
    if refusal is not None:
        return refusal
    context = resolve_context(request, hparams, target.context.flash_attention)
    layout = target.layout
    caches = _cache_bytes(layout.prediction_caches, context, layout)
    if isinstance(caches, Refusal):
        return caches
    parts = _parts(layout.prediction_caches, context, layout, "draft")
    nothing = dict.fromkeys(layout.buffers, 0)
    # The weights are the target's: they are not counted again.
    own = replace(layout, weights_bytes=nothing)
    outputs = hparams.n_vocab * context.n_seq_max * _F32_BYTES
    return ModelPlan(prepared, context, own, caches, nothing, parts, layout.prediction_caches, outputs)


def compute_of(
    found: ModelPlan,
    settings: LlamaSettings,
    *,
    is_second: bool = False,
    as_projected: bool = False,
    with_fusions: bool = True,
) -> dict[str, Figure]:
    """Compute buffers by device name. `is_second`: of the draft model, or of the second context of draft-mtp.

    `as_projected`: what the engine's own measuring (`--fit`, llama-fit-params) says of them. `with_fusions`: the high
    end holds what ggml-cuda may add for mixtures.
    """
    prediction = is_second and settings.draft is None
    return estimate(
        found.prepared,
        found.context,
        settings,
        found.layout,
        prediction=prediction,
        as_projected=as_projected,
        with_fusions=with_fusions,
    )


def _assemble(
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    target: ModelPlan,
    second: ModelPlan | None,
) -> MemoryPlan:
    both = [target] if second is None else [target, second]
    buffers = [compute_of(target, settings)]
    if second is not None:
        buffers.append(compute_of(second, settings, is_second=True))
    names = (*(device.name for device in devices), HOST)
    shares = tuple(
        DeviceShare(name, held_on(name, both, target.rule) + scratch_on(name, both, buffers, target.rule))
        for name in names
    )
    parts = target.parts
    if second is not None:
        drafted = sum(part.size_bytes for part in second.parts)
        layers = sum(part.layers for part in second.parts)
        parts = (*parts, CachePart("draft", drafted, layers, second.context.n_ctx_seq))
    context = target.context
    return MemoryPlan(
        engine="llama.cpp",
        rules_version=target.prepared.hparams.build.name,
        model=target.prepared.name,
        architecture=target.prepared.hparams.arch,
        devices=shares,
        bytes_per_token=sum(bytes_per_token(one.groups, one.context, settings.swa_full) for one in both),
        cache_parts=parts,
        type_k=context.type_k,
        type_v=context.type_v,
        flash_attention=context.flash_attention,
        context=ContextPlan(context.n_ctx, context.slot_cells, context.n_seq_max, context.kv_unified),
        steps=derivation(settings, target, second, buffers),
        copied_cache_bytes=copied_bytes(target),
        host_growth=host_growth(settings, target, second),
        warnings=warnings_of(target.prepared.hparams, settings, devices, target.context, target.layout),
    )
