"""What `vllm serve` would allocate, before it runs: the entry of the vLLM rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal, UnknownArchitectureError
from kvtop.planning.vllm.architectures import Architecture, architecture_of
from kvtop.planning.vllm.assignment import Assignment, AssignTerms, assign
from kvtop.planning.vllm.backend_rules import MlaShape
from kvtop.planning.vllm.backends import CUDA_BACKENDS, TRITON_ATTN, Backend
from kvtop.planning.vllm.block_size import RankShape
from kvtop.planning.vllm.cached_layers import (
    BuildTerms,
    CachedLayer,
    attention_heads,
    layer_count,
    total_kv_heads,
)
from kvtop.planning.vllm.config_view import ConfigView, view
from kvtop.planning.vllm.dtypes import TURBOQUANT_BITS
from kvtop.planning.vllm.flash_attention import Card, is_supported
from kvtop.planning.vllm.groups import Group, group_layers
from kvtop.planning.vllm.model_facts import (
    cache_dtype,
    model_dtype,
    model_length,
    per_head_scales,
    rank_head_size,
    refuse_cache_dtype,
    refuse_e5m2,
    refuse_parallel,
    without_windows,
)
from kvtop.planning.vllm.options import parse_serve_options
from kvtop.planning.vllm.pool import Pool, Stage, size_pool
from kvtop.planning.vllm.refusals import RefusedError
from kvtop.planning.vllm.report import Findings, plan_of
from kvtop.planning.vllm.settings import Batch, ServeSettings, batch_of, settings_from
from kvtop.planning.vllm.specs import RequestTerms, SpecKind

ENGINE = "vllm"


def plan_command(
    argv: Sequence[str], checkpoint: Checkpoint, devices: tuple[PlanDevice, ...], config_yaml: str | None = None
) -> MemoryPlan | Refusal:
    """The plan of `vllm serve` with these words after it, one device per rank (pipeline stage first).

    `config_yaml` is the text of the file that `--config` names, if somebody read it.

    Returns:
        The plan; or a Refusal with vLLM's words where it would not start.

    Raises:
        UnknownArchitectureError: kvtop has no exact rule for this model, option or card.
    """
    return plan_options(parse_serve_options(argv, config_yaml=config_yaml), checkpoint, devices)


def plan_options(
    options: LaunchOptions, checkpoint: Checkpoint, devices: tuple[PlanDevice, ...]
) -> MemoryPlan | Refusal:
    """As `plan_command`, from options that are parsed already (a running server's)."""
    try:
        return _plan(settings_from(options), checkpoint, devices)
    except RefusedError as refused:
        return Refusal(ENGINE, str(refused))


def _plan(settings: ServeSettings, checkpoint: Checkpoint, devices: tuple[PlanDevice, ...]) -> MemoryPlan:
    config = view(checkpoint.config)
    if config.whole("sliding_window") == 0 or not settings.sliding_window:
        config = without_windows(config)
    name, architecture = architecture_of(config)
    ranks = settings.tp_size * settings.pp_size
    if len(devices) < ranks:
        raise RefusedError(
            f"World size ({ranks}) is larger than the number of available GPUs ({len(devices)}) in this node. "
            "If this is intentional and you are using:\n- ray, set '--distributed-executor-backend ray'.\n"
            "- multiprocessing, set '--nnodes' appropriately."
        )
    capability = devices[0].compute_capability
    if devices[0].backend != "cuda" or capability is None:
        raise UnknownArchitectureError(
            "kvtop knows vLLM's rules for NVIDIA cards only; give the card as cc=MAJOR.MINOR"
        )
    length = model_length(config, settings)
    chunked = settings.chunked_prefill is not False and not architecture.encoder_decoder
    batch = batch_of(settings, devices[0], length, chunked_prefill=chunked)
    run = _run_of(config, name, architecture, settings, devices[0], capability)
    assignment = assign(run.layers, run.terms)
    refuse_e5m2(config, run.terms.cache_dtype)
    stages = _stages(run.layers, assignment, settings, layer_count(config))
    request = _request_terms(settings, architecture, batch, length, run, chunked=chunked)
    _refuse_windows_with_dcp(assignment, settings)
    pool = _pool(stages, settings, request)
    return plan_of(
        Findings(
            checkpoint,
            name,
            architecture.family,
            config,
            settings,
            devices[:ranks],
            assignment,
            stages,
            pool,
            batch,
            run.terms.shape.model_dtype,
            request,
        )  # fmt: skip
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """The layers of the model on one rank, and what their backends are chosen by."""

    layers: tuple[CachedLayer, ...]
    terms: AssignTerms
    prefix_caching: bool


def _run_of(
    config: ConfigView,
    name: str,
    architecture: Architecture,
    settings: ServeSettings,
    device: PlanDevice,
    capability: tuple[int, int],
) -> _Run:
    stored = cache_dtype(config, settings.cache_dtype, name, capability)
    dtype = model_dtype(config, settings.dtype, capability)
    build = BuildTerms(settings.tp_size, dtype, settings.mamba_cache_dtype, settings.mamba_ssm_cache_dtype)
    # vLLM checks heads and ranks before it builds layers, so the message of the first check wins.
    use_mla = config.whole("kv_lora_rank") is not None and architecture.family in ("MLA", "Kimi delta attention")
    refuse_parallel(config, settings, use_mla=use_mla, attention_free=architecture.attention_free)
    refuse_cache_dtype(config, stored, use_mla=use_mla)
    if settings.pp_size > 1 and not architecture.pipeline:
        raise RefusedError(
            "Pipeline parallelism is not supported for this model. Supported models implement the `SupportsPP` "
            "interface."
        )
    layers = architecture.build(config, build)
    is_hybrid = architecture.is_hybrid and any(layer.kind is SpecKind.MAMBA for layer in layers)
    skips = _skip_layers(settings, stored, layer_count(config), is_hybrid=is_hybrid)
    prefix_caching = settings.prefix_caching
    if prefix_caching is None:
        prefix_caching = not (architecture.attention_free or architecture.encoder_decoder)
    shape = _shape(config, settings, layers, dtype, use_mla=use_mla, is_hybrid=is_hybrid, free=architecture)
    override, forced = _overrides(config, name, settings, stored, capability, layers)
    card = Card(
        capability,
        device.product or device.name,
        stored,
        override,
        soft_capped=bool(config.raw("attn_logit_softcapping")),
        mm_prefix=architecture.mm_prefix and not settings.language_model_only,
        dcp=settings.dcp_size > 1,
    )
    terms = AssignTerms(
        card,
        shape,
        _mla_shape(config) if use_mla else MlaShape(),
        stored,
        skips,
        settings.block_size,
        forced,
        per_head_scales(config),
        None if prefix_caching or not architecture.attention_free and not is_hybrid else model_length(config, settings),
    )
    return _Run(layers, terms, prefix_caching)


def _shape(
    config: ConfigView,
    settings: ServeSettings,
    layers: tuple[CachedLayer, ...],
    dtype: str,
    *,
    use_mla: bool,
    is_hybrid: bool,
    free: Architecture,
) -> RankShape:
    state = max((layer.state_bytes for layer in layers), default=0)
    if free.attention_free:
        return RankShape(1, 1, 0, dtype, use_mla=False, is_hybrid=False, state_bytes=state)
    return RankShape(
        kv_heads=1 if use_mla else max(1, total_kv_heads(config) // settings.tp_size),
        q_heads=attention_heads(config) // settings.tp_size,
        head_size=rank_head_size(config, use_mla=use_mla),
        model_dtype=dtype,
        use_mla=use_mla,
        is_hybrid=is_hybrid,
        state_bytes=state,
    )


def _mla_shape(config: ConfigView) -> MlaShape:
    return MlaShape(
        config.whole("qk_nope_head_dim") or 0,
        config.whole("qk_rope_head_dim") or 0,
        config.whole("v_head_dim") or 0,
        config.whole("kv_lora_rank") or 0,
        has_index_topk=config.whole("index_topk") is not None,
    )


def _skip_layers(settings: ServeSettings, stored: str, layers: int, *, is_hybrid: bool) -> tuple[str, ...]:
    """Layers kept at the model's dtype: as asked, and TurboQuant's first and last two on models without state."""
    skips = set(settings.skip_layers)
    if (stored in TURBOQUANT_BITS or stored == "ultraquant_4bit") and not is_hybrid:
        edge = min(2, layers // 2)
        skips |= {str(index) for index in (*range(edge), *range(layers - edge, layers))}
    return tuple(sorted(skips))


def _overrides(
    config: ConfigView,
    name: str,
    settings: ServeSettings,
    stored: str,
    capability: tuple[int, int],
    layers: tuple[CachedLayer, ...],
) -> tuple[int | None, Backend | None]:
    """The FlashAttention version and the backend that the command line or the model class force."""
    forced: Backend | None = None
    if settings.attention_backend is not None:
        if settings.attention_backend not in CUDA_BACKENDS:
            raise UnknownArchitectureError(f"--attention-backend {settings.attention_backend}: not known to kvtop")
        forced = CUDA_BACKENDS[settings.attention_backend]
    if stored in TURBOQUANT_BITS or stored == "ultraquant_4bit":
        return 2, forced
    sizes = {layer.head_size for layer in layers}
    if name == "Gemma4ForCausalLM" and len(sizes) > 1:
        if is_supported(4, Card(capability)) and max(sizes) <= 512:
            if forced is None or forced.name == "FLASH_ATTN":
                return (None if capability[0] == 9 and stored.startswith("fp8") else 4), forced
        elif forced is None:
            forced = TRITON_ATTN
    _ = config
    return settings.flash_attn_version, forced


def _stages(
    layers: tuple[CachedLayer, ...], assignment: Assignment, settings: ServeSettings, count: int
) -> tuple[Stage, ...]:
    groups = group_layers(assignment.specs, hybrid=settings.hybrid_manager)
    bounds = _partition(count, settings.pp_size)
    available = settings.kv_cache_bytes or 0
    stages: list[Stage] = []
    for start, stop in bounds:
        held = [position for position, layer in enumerate(layers) if start <= layer.index < stop]
        first, last = (held[0], held[-1] + 1) if held else (0, 0)
        part = groups if settings.pp_size == 1 else tuple(group.only(first, last) for group in groups)
        stages.append(Stage(part, available))
    return tuple(stages)


def _partition(layers: int, stages: int) -> list[tuple[int, int]]:
    """Layers of each pipeline stage; what is left over goes to the middle (`get_pp_indices`)."""
    sizes = [layers // stages] * stages
    for index in range(2, layers % stages + 2):
        sizes[-index] += 1
    starts = [sum(sizes[:index]) for index in range(stages)]
    return [(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def _request_terms(
    settings: ServeSettings, architecture: Architecture, batch: Batch, length: int, run: _Run, *, chunked: bool
) -> RequestTerms:
    if architecture.is_hybrid and run.prefix_caching and not chunked:
        raise RefusedError("Chunked prefill is required for mamba cache mode 'align'.")
    return RequestTerms(
        length,
        batch.in_flight_tokens,
        settings.dcp_size,
        mamba_align=run.prefix_caching,
        encoder_tokens=batch.max_batched_tokens,
    )


def _refuse_windows_with_dcp(assignment: Assignment, settings: ServeSettings) -> None:
    if settings.dcp_size > 1 and any(spec.kind is SpecKind.SLIDING for spec in assignment.specs):
        raise RefusedError("DCP not support sliding window.")


def _pool(stages: tuple[Stage, ...], settings: ServeSettings, request: RequestTerms) -> Pool | None:
    """None where the pool depends on what profiling finds free."""
    if settings.kv_cache_bytes is None and settings.blocks_override is None:
        return None
    return size_pool(stages, request, blocks_override=settings.blocks_override, fit_length=settings.fit_length)


__all__ = ["Group", "plan_command", "plan_options"]
