"""What `vllm serve` would allocate, before it runs: the entry of the vLLM rules."""

from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.guards import refuse_endless
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured
from kvtop.planning.versions import as_estimate
from kvtop.planning.vllm.backends.assignment import Assignment, assign
from kvtop.planning.vllm.models.cached_layers import CachedLayer, layer_count, partition
from kvtop.planning.vllm.models.config_view import view
from kvtop.planning.vllm.models.model_facts import model_length
from kvtop.planning.vllm.options.batch import batch_of
from kvtop.planning.vllm.options.overrides import overridden
from kvtop.planning.vllm.options.parse import ENGINE, parse_serve_options
from kvtop.planning.vllm.options.settings import ServeSettings, settings_from
from kvtop.planning.vllm.pool.free_memory import memory_refusal
from kvtop.planning.vllm.pool.pool import Stage, size_pool
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.report import Findings, plan_of
from kvtop.planning.vllm.run import Run, run_of
from kvtop.planning.vllm.running import as_measured
from kvtop.planning.vllm.specs.groups import group_layers
from kvtop.planning.vllm.specs.layer_specs import RequestTerms, SpecKind
from kvtop.planning.vllm.start_checks import refuse_e5m2, refuse_state_block


def plan_command(
    argv: Sequence[str], checkpoint: Checkpoint, devices: tuple[PlanDevice, ...], config_yaml: str | None = None
) -> MemoryPlan | Refusal:
    """The plan of `vllm serve` with these words after it, one device per rank (first pipeline stage first).

    `config_yaml` is the text of the file that `--config` names, if somebody read it.

    Returns:
        The plan; or a Refusal with vLLM's words where it would not start.

    Raises:
        NoExactRuleError: kvtop has no exact rule for this model, option or card.
    """
    return plan_options(parse_serve_options(argv, config_yaml=config_yaml), checkpoint, devices)


def plan_options(
    options: LaunchOptions,
    checkpoint: Checkpoint,
    devices: tuple[PlanDevice, ...],
    measured: Measured = NOTHING_MEASURED,
) -> MemoryPlan | Refusal:
    """As `plan_command`, from options that are parsed already, and what a running server found out."""
    try:
        settings = as_measured(settings_from(options), measured)
        try:
            return _plan(settings, checkpoint, devices)
        except NoExactRuleError:
            # What the card has free decides before the model counts.
            _refuse_memory(settings, devices)
            raise
    except StartRefusedError as refused:
        return Refusal(ENGINE, str(refused))


def options_refusal(options: LaunchOptions) -> str:
    """What vLLM would refuse of the options alone, whatever the model and the card; "" for nothing."""
    try:
        settings_from(options)
    except StartRefusedError as refused:
        return str(refused)
    except NoExactRuleError:
        pass  # an option without a rule is the plan's to tell
    return ""


def _plan(settings: ServeSettings, checkpoint: Checkpoint, devices: tuple[PlanDevice, ...]) -> MemoryPlan:
    checkpoint = replace(checkpoint, config=overridden(checkpoint.config, settings.config_overrides))
    refuse_endless(checkpoint.config)
    config = view(checkpoint.config)
    ranks = settings.tp_size * settings.pp_size * settings.dp_size
    if len(devices) < ranks:
        raise StartRefusedError(
            f"World size ({ranks}) is larger than the number of available GPUs ({len(devices)}) in this node. "
            "If this is intentional and you are using:\n- ray, set '--distributed-executor-backend ray'.\n"
            "- multiprocessing, set '--nnodes' appropriately."
        )
    length = model_length(config, settings)
    draft = None if checkpoint.draft is None else view(checkpoint.draft.config)
    run = run_of(config, settings, devices[0], length, draft)
    chunked = settings.chunked_prefill is not False and not run.architecture.encoder_decoder
    if run.is_hybrid and run.prefix_caching and not chunked:
        raise StartRefusedError("Chunked prefill is required for mamba cache mode 'align'.")
    batch = batch_of(settings, devices[0], length, chunked_prefill=chunked)
    bounds = _with_draft(partition(layer_count(run.config), settings.pp_size, settings.stage_layers), run.draft.modules)
    assignment = _assigned(run, bounds)
    refuse_e5m2(run.config, run.terms.cache_dtype)
    rules = settings.rules
    if run.is_hybrid and run.prefix_caching:
        refuse_state_block(assignment.block_size, batch.max_batched_tokens, rules)
    if settings.dcp_size > 1 and any(spec.kind is SpecKind.SLIDING for spec in assignment.specs):
        raise StartRefusedError("DCP not support sliding window.")
    request = RequestTerms(
        length,
        batch.in_flight_tokens if rules.holds_tokens_in_flight else batch.max_batched_tokens,
        settings.dcp_size,
        mamba_align=run.prefix_caching,
        encoder_tokens=batch.max_batched_tokens,
        draft_tokens=settings.draft_tokens,
    )
    stages = _stages(run, assignment, settings, bounds)
    _refuse_memory(settings, devices)
    known = settings.kv_cache_bytes is not None or settings.blocks_override is not None
    pool = (
        size_pool(
            stages,
            request,
            blocks_override=settings.blocks_override,
            fit_length=settings.fit_length,
            keeps_null_block=rules.keeps_null_block,
        )
        if known
        else None
    )
    plan = plan_of(Findings(checkpoint, run, settings, devices[:ranks], assignment, stages, pool, batch, request))
    doubt = rules.doubt(
        run.name,
        run.terms.card.family,
        skips_layers=bool(settings.skip_layers),
        stages=settings.pp_size,
        context_ranks=settings.dcp_size,
        drafts=settings.draft_tokens > 0,
    )
    doubts = [text for text in (doubt, run.draft.doubt, run.doubt, *settings.doubts) if text]
    return as_estimate(plan, "; ".join(doubts)) if doubts else plan


def _refuse_memory(settings: ServeSettings, devices: tuple[PlanDevice, ...]) -> None:
    refusal = memory_refusal(devices[: settings.tp_size * settings.pp_size * settings.dp_size], settings.utilization)
    if refusal:
        raise StartRefusedError(refusal)


def _with_draft(bounds: tuple[tuple[int, int], ...], modules: int) -> tuple[tuple[int, int], ...]:
    """A draft's layers follow the target's on the last stage."""
    start, stop = bounds[-1]
    return (*bounds[:-1], (start, stop + modules))


def _assigned(run: Run, bounds: tuple[tuple[int, int], ...]) -> Assignment:
    """Each pipeline stage chooses backends and a block size for the layers it holds, in a process of its own."""
    found = [assign(held, run.terms) for start, stop in bounds if (held := _held(run, start, stop))]
    if len(found) < 2:
        return found[0] if found else assign(run.layers, run.terms)
    first = found[0]
    return replace(
        first,
        specs=tuple(spec for stage in found for spec in stage.specs),
        backends=tuple(dict.fromkeys(backend for stage in found for backend in stage.backends)),
    )


def _held(run: Run, start: int, stop: int) -> tuple[CachedLayer, ...]:
    return tuple(layer for layer in run.layers if start <= layer.index < stop)


def _stages(
    run: Run, assignment: Assignment, settings: ServeSettings, bounds: tuple[tuple[int, int], ...]
) -> tuple[Stage, ...]:
    groups = group_layers(assignment.specs, hybrid=settings.hybrid_manager)
    available = settings.kv_cache_bytes or 0
    if settings.pp_size == 1:
        return (Stage(groups, available),)
    stages: list[Stage] = []
    for start, stop in bounds:
        held = [position for position, layer in enumerate(run.layers) if start <= layer.index < stop]
        first, last = (held[0], held[-1] + 1) if held else (0, 0)
        stages.append(Stage(tuple(group.only(first, last) for group in groups), available))
    return tuple(stages)
