"""The plan that a person and the export see, from what the rules found."""

import math
from contextlib import suppress
from dataclasses import dataclass, replace

from kvtop.domain.figure import UNKNOWN, Figure
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import (
    CachePart,
    DeviceShare,
    MemoryPlan,
    NoExactRuleError,
    PlanDevice,
    PoolEstimate,
    Step,
    VllmPlan,
    allocation_rule,
)
from kvtop.planning.vllm.backends.assignment import Assignment
from kvtop.planning.vllm.dtypes import PER_TOKEN_HEAD, SCALE_BYTES
from kvtop.planning.vllm.options.batch import Batch
from kvtop.planning.vllm.options.settings import ServeSettings
from kvtop.planning.vllm.pool.activations import Profiled, taken_bytes
from kvtop.planning.vllm.pool.estimate import estimate_pool
from kvtop.planning.vllm.pool.free_memory import requested_bytes
from kvtop.planning.vllm.pool.pool import Pool, Stage
from kvtop.planning.vllm.rank_weights import rank_weights
from kvtop.planning.vllm.rules.rules import Rules
from kvtop.planning.vllm.run import Run
from kvtop.planning.vllm.shapes.encoders import encoder_width
from kvtop.planning.vllm.specs.layer_specs import LayerSpec, RequestTerms, SpecKind
from kvtop.planning.vllm.weights import StageWeights
from kvtop.text import bytes_text

_PART_NAMES = {
    SpecKind.FULL: "full",
    SpecKind.SINK: "full",
    SpecKind.MLA: "latent",
    SpecKind.SLIDING: "sliding_window",
    SpecKind.CHUNKED: "chunked",
    SpecKind.MAMBA: "recurrent",
    SpecKind.CROSS: "cross",
}
_COMPUTE_SOURCE = "activations and CUDA graphs, which vLLM measures when it starts: a wide guess"
_ACTIVATION_LOW_RATIO, _ACTIVATION_HIGH_RATIO = 0.01, 0.12


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything the rules found, for one report. `pool` None: it depends on what profiling finds free."""

    checkpoint: Checkpoint
    run: Run
    settings: ServeSettings
    devices: tuple[PlanDevice, ...]
    assignment: Assignment
    stages: tuple[Stage, ...]
    pool: Pool | None
    batch: Batch
    request: RequestTerms


def plan_of(found: Findings) -> MemoryPlan:
    """The finished plan, one share per rank, pipeline stage first."""
    tp_size = found.settings.tp_size
    weights = rank_weights(found.checkpoint, found.run, found.settings)
    devices = tuple(
        DeviceShare(device.name, _memory(found, device, _stage_of(found, rank), weights))
        for rank, device in enumerate(found.devices)
    )
    first = _first_stage_specs(found)
    attention = [spec for spec in first if spec.kind is not SpecKind.MAMBA]
    per_rank = sum(_token_bytes(spec, found.settings.rules) for spec in attention)
    growing = sum(
        spec.unpadded_page_bytes / spec.block_size * tp_size * found.settings.dp_size
        for spec in found.assignment.specs
        if spec.kind.is_full
    )
    return MemoryPlan(
        engine="vllm",
        rules_version=found.settings.rules.name,
        model=found.settings.model or found.checkpoint.path,
        architecture=found.run.name,
        devices=devices,
        bytes_per_token=growing,
        cache_parts=_parts(found),
        type_k=_stored_type(found),
        type_v=_stored_type(found),
        vllm=VllmPlan(
            bytes_per_token_per_rank=per_rank,
            bytes_per_block=found.stages[0].bytes_per_block,
            block_size_tokens=found.assignment.block_size,
            num_gpu_blocks=None if found.pool is None else found.pool.num_blocks,
            kv_cache_tokens=None if found.pool is None else found.pool.tokens,
            max_concurrency=None if found.pool is None else found.pool.max_concurrency,
            max_model_len_tokens=found.request.max_model_len if found.pool is None else found.pool.max_model_len,
            pool_estimate=_likely_pool(found, devices),
            requested_bytes_per_rank=_requested_shares(found),
        ),
        steps=_steps(found),
        warnings=(*_warnings(found), *weights.notes),
    )


def _memory(found: Findings, device: PlanDevice, stage: int, weights: StageWeights) -> Memory:
    """What a rank of this stage holds. States of recurrent layers are blocks of the pool."""
    rule = allocation_rule(found.settings.rules.name)
    pool_bytes = None if found.pool is None else found.pool.num_blocks * found.stages[stage].bytes_per_block
    return Memory.of(
        {
            Segment.WEIGHTS: _sourced(weights.per_stage[stage], rule, weights.reason),
            Segment.KV_CACHE: Figure.computed(pool_bytes, rule),
            Segment.RECURRENT: Figure.computed(0, rule),
            Segment.COMPUTE: _compute(found, device, stage),
            Segment.OUTPUT: Figure.computed(0, rule),
        }
    )


def _sourced(size: Figure | None, rule: str, reason: str) -> Figure:
    """With who says it, and why it is a range where it is one."""
    if size is None or size.value_bytes is None:
        return UNKNOWN
    if size.least_bytes == size.most_bytes:
        return Figure.computed(size.value_bytes, rule)
    return replace(size, source=f"{rule}; {reason}")


def _token_bytes(spec: LayerSpec, rules: Rules) -> float:
    """Bytes of a token of one layer as the version's own specs state them."""
    stored = spec.unpadded_page_bytes / spec.block_size
    scaled = spec.storage in PER_TOKEN_HEAD and not rules.counts_head_scales
    return stored - SCALE_BYTES * spec.head_slots if scaled else stored


def _stored_type(found: Findings) -> str:
    """ "auto" that nothing in the checkpoint decides is the type the model computes in."""
    stored = found.assignment.cache_dtype
    return found.run.terms.shape.model_dtype if stored == "auto" else stored


def _likely_pool(found: Findings, parts: tuple[DeviceShare, ...]) -> PoolEstimate | None:
    if found.pool is not None:
        return None
    settings = found.settings
    return estimate_pool(
        found.stages,
        found.request,
        found.devices,
        parts,
        settings.utilization,
        fit_length=settings.fit_length,
        keeps_null_block=settings.rules.keeps_null_block,
    )


def _requested_shares(found: Findings) -> tuple[int | None, ...]:
    if found.pool is not None:
        return ()
    return tuple(requested_bytes(device, found.settings.utilization) for device in found.devices)


def _stage_of(found: Findings, rank: int) -> int:
    """The pipeline stage of a device; engines of data parallelism follow each other."""
    return rank // found.settings.tp_size % found.settings.pp_size


def _first_stage_specs(found: Findings) -> list[LayerSpec]:
    if found.settings.pp_size == 1:
        return list(found.assignment.specs)
    held = {position for group in found.stages[0].groups for position in group.layers}
    return [spec for position, spec in enumerate(found.assignment.specs) if position in held]


def _compute(found: Findings, device: PlanDevice, stage: int) -> Figure:
    """Activations, CUDA graphs and the CUDA context: vLLM measures them when it starts.

    Beside a pool that is stated, nothing else is taken off it: the range is that of any launch.
    """
    total = device.total_bytes
    if found.pool is None:
        profiled = Profiled(
            found.run.config,
            found.run.layers,
            found.settings,
            found.batch,
            found.request.max_model_len,
            tuple(backend.name for backend in found.assignment.backends),
            encoder_width(found.run.config),
            samples=stage == found.settings.pp_size - 1,
        )
        with suppress(NoExactRuleError):  # then the range of any launch is left
            return replace(taken_bytes(profiled), source=_COMPUTE_SOURCE)
    if total is None:
        return Figure.estimated(4 << 30, 1 << 30, 16 << 30, _COMPUTE_SOURCE)
    low, high = int(total * _ACTIVATION_LOW_RATIO), int(total * _ACTIVATION_HIGH_RATIO)
    return Figure.estimated((low + high) // 2, low, high, _COMPUTE_SOURCE)


def _parts(found: Findings) -> tuple[CachePart, ...]:
    """One part: all groups draw blocks from one pool, so its bytes belong to no kind of layer alone."""
    if found.pool is None:
        return ()
    tp_size = found.settings.tp_size
    ranks = tp_size * found.settings.dp_size
    size = sum(stage.bytes_per_block * ranks for stage in found.stages) * found.pool.num_blocks
    kinds = {_PART_NAMES[spec.kind] for spec in found.assignment.specs}
    kind = next(iter(kinds)) if len(kinds) == 1 else "pool"
    return (CachePart(kind, size, len(found.assignment.specs), found.pool.num_blocks * found.assignment.block_size),)


def _steps(found: Findings) -> tuple[Step, ...]:
    """The derivation, in vLLM's own order."""
    settings, stage, pool = found.settings, found.stages[0], found.pool
    names = ", ".join(backend.name for backend in found.assignment.backends) or "no attention"
    steps = [
        Step(
            f"{found.run.name} ({found.run.architecture.family}), computing in {found.run.terms.shape.model_dtype}",
            "config.json",
        ),
        Step(f"attention backend {names}", "platforms/cuda.py: get_attn_backend_cls"),
        Step(
            f"blocks of {found.assignment.block_size} tokens, cache type {found.assignment.cache_dtype}",
            "platforms/interface.py: update_block_size_for_backend",
        ),
        _batch_step(found),
    ]
    for group in stage.groups:
        held = group.blocks_per_request(found.request)
        steps.append(
            Step(
                f"{len(group.layers)} layers {_PART_NAMES[group.head.kind]}: {group.bytes_per_block} bytes a block of "
                f"{group.head.block_size} tokens, {held} blocks a request",
                "v1/core/kv_cache_utils.py: get_kv_cache_groups",
            )
        )
    steps.append(Step(f"{stage.bytes_per_block} bytes a block on each rank", "_get_kv_cache_bytes_per_block"))
    if pool is not None:
        size = _amount(pool.num_blocks * stage.bytes_per_block)
        steps.append(
            Step(
                f"{pool.num_blocks} blocks, {pool.tokens} tokens, {pool.max_concurrency:.2f} requests of "
                f"{pool.max_model_len} tokens",
                "get_kv_cache_capacity",
                f"{pool.num_blocks} blocks x {stage.bytes_per_block} bytes = {size} on each rank",
            )
        )
    else:
        steps.append(_requested(found.devices[0], settings.utilization))
    return tuple(steps)


def _batch_step(found: Findings) -> Step:
    batch = f"{found.batch.max_batched_tokens} tokens a batch"
    if not found.settings.rules.holds_tokens_in_flight:
        return Step(f"{batch}, which a window holds besides its own", "config/scheduler.py: max_num_batched_tokens")
    return Step(f"{batch}, {found.batch.in_flight_tokens} in flight", "config/vllm.py: max_in_flight_tokens")


def _requested(device: PlanDevice, utilization: float) -> Step:
    rule = "v1/worker/gpu_worker.py: determine_available_memory"
    if device.total_bytes is None:
        return Step("the pool takes what is left of the card's memory, which is unknown", rule)
    requested = math.ceil(device.total_bytes * utilization)
    return Step(
        f"{requested} bytes are requested on each card; the pool gets what remains after weights, activations "
        "and CUDA graphs, which vLLM measures when it starts",
        rule,
        f"{device.total_bytes} bytes x {utilization:g}, rounded up = {_amount(requested)}",
    )


def _amount(size_bytes: int) -> str:
    return f"{size_bytes} bytes ({bytes_text(size_bytes)})"


def _warnings(found: Findings) -> tuple[str, ...]:
    warnings = [
        *found.settings.notes,
        "compute is a wide range: vLLM measures activations and CUDA graphs when it starts",
    ]
    if found.pool is None:
        warnings.append(
            "without --kv-cache-memory-bytes the pool depends on what vLLM finds free; give it to get exact blocks"
        )
    return tuple(warnings)
