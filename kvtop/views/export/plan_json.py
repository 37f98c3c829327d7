"""A MemoryPlan as JSON, schema `kvtop.plan/1`. Names are a contract: within a version they are only added to."""

import json

from kvtop.domain.answers.engine_fit import EngineFit, FitValues
from kvtop.domain.answers.plan_answer import Asked, DeviceFit, PlanAnswer
from kvtop.domain.answers.room import Room
from kvtop.domain.figure import Basis, Figure
from kvtop.domain.memory import CACHES, Memory, Segment
from kvtop.domain.plan import ContextPlan, DeviceShare, HostGrowth, PoolEstimate
from kvtop.views.export.plan_types import (
    SCHEMA,
    AmountsJson,
    AskedJson,
    CheckJson,
    ContextJson,
    DeviceAmountsJson,
    EngineFitJson,
    EstimateJson,
    FitValuesJson,
    HostGrowthJson,
    LikelyPoolJson,
    NoPlanJson,
    PlanErrorJson,
    PlanJson,
    RangeJson,
    StepJson,
    VerifyJson,
)

_CHECKED = {(Segment.WEIGHTS,): "weights", CACHES: "KV cache and state"}
"""What a check is called in the export."""


def plan_text(answer: PlanAnswer, *, explain: bool) -> str:
    """The plan as indented JSON with a final newline; `explain` adds the derivation."""
    plan = answer.plan
    context, vllm = plan.context, plan.vllm
    document: PlanJson = {
        "schema": SCHEMA,
        "engine": plan.engine,
        "rules_version": plan.rules_version,
        "model": plan.model,
        "architecture": plan.architecture,
        "flash_attention": plan.flash_attention,
        "cache_types": {"k": plan.type_k, "v": plan.type_v},
        "context": None if context is None else _context(context),
        "total": _amounts(plan.memory),
        "devices": [_device(part, room) for part, room in zip(plan.devices, answer.rooms, strict=True)],
        "fit": None if answer.engine_fit is None else _fit(answer.engine_fit),
        "asked": None if answer.asked is None else _asked(answer.asked),
        "kv_cache": {
            "bytes_per_token": plan.bytes_per_token,
            "by_kind": {part.kind: part.size_bytes for part in plan.cache_parts},
        },
        "vllm": None
        if vllm is None
        else {
            "bytes_per_token_per_rank": vllm.bytes_per_token_per_rank,
            "bytes_per_block": vllm.bytes_per_block,
            "block_size_tokens": vllm.block_size_tokens,
            "num_gpu_blocks": vllm.num_gpu_blocks,
            "kv_cache_tokens": vllm.kv_cache_tokens,
            "max_concurrency": vllm.max_concurrency,
            "max_model_len_tokens": vllm.max_model_len_tokens,
            "pool_estimate": _pool_estimate(vllm.pool_estimate),
            "requested_bytes_per_rank": list(vllm.requested_bytes_per_rank),
        },
        "copied_cache_bytes": plan.copied_cache_bytes,
        "host_growth": None if plan.host_growth is None else _host_growth(plan.host_growth),
        "largest_context_tokens": answer.largest_context_tokens,
        "assumption": answer.assumption or None,
        "refusal": answer.refusal or None,
        "warnings": list(plan.warnings),
        "notes": list(answer.notes),
    }
    if answer.checks is not None:
        document["verify"] = VerifyJson(
            note=answer.check_note,
            checks=[
                CheckJson(
                    device=check.device,
                    what=_CHECKED[check.segments],
                    planned_mib=check.planned_mib,
                    reported_mib=check.reported_mib,
                    agrees=check.agrees,
                )
                for check in answer.checks
            ],
        )
    if explain:
        document["steps"] = [
            StepJson(text=step.text, rule=step.rule, arithmetic=step.arithmetic or None) for step in plan.steps
        ]
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _context(context: ContextPlan) -> ContextJson:
    return ContextJson(
        n_ctx=context.n_ctx,
        n_ctx_seq=context.n_ctx_seq,
        n_seq_max=context.n_seq_max,
        kv_unified=context.kv_unified,
    )


def _fit(found: EngineFit) -> EngineFitJson:
    """What the engine itself makes of the command; `devices` and `context` are those after it."""
    return {
        "applied": found.is_applied,
        "reason": found.reason,
        **_values(found.values),
        "margin_kept": found.is_margin_kept,
        "within_free": found.is_within_free,
        "change": found.change or None,
        "flags": list(found.flags),
        "possible": [_values(values) for values in found.possible],
    }


def _values(values: FitValues) -> FitValuesJson:
    return {
        "n_ctx": values.n_ctx,
        "n_ctx_seq": values.n_ctx_seq,
        "n_gpu_layers": values.n_gpu_layers,
        "tensor_split": [int(share) if share == int(share) else share for share in values.tensor_split],
        "overrides": [list(override) for override in values.overrides],
    }


def _asked(asked: Asked) -> AskedJson:
    """The same keys before `--fit`, where they differ."""
    context = asked.plan.context
    return {
        "devices": [_device(part, room) for part, room in zip(asked.plan.devices, asked.rooms, strict=True)],
        "context": None if context is None else _context(context),
    }


def error_text(engine: str | None, model: str | None, message: str, hints: tuple[str, ...] = ()) -> str:
    """No plan and no number: why, as JSON, and what would start. `model` is as it was typed."""
    error = PlanErrorJson(message=message)
    if hints:
        error["hints"] = list(hints)
    document = NoPlanJson(schema=SCHEMA, engine=engine, model=model, error=error)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _device(part: DeviceShare, room: DeviceFit) -> DeviceAmountsJson:
    exact = {segment: part.memory[segment] for segment in (Segment.WEIGHTS, *CACHES)}
    is_estimated = any(figure.basis is Basis.ESTIMATED for figure in exact.values())
    return DeviceAmountsJson(
        name=part.name,
        **_amounts(part.memory),
        available_bytes=room.room_bytes,
        total_bytes=None if room.room is None else room.room.total_bytes,
        reserve_bytes=None if room.room is None else _estimate(room.room.reserve),
        room_bytes=None if room.room is None else _room(room.room),
        needed_bytes=_estimate(room.needed),
        fit=str(room.fit.value),
        basis=str((Basis.ESTIMATED if is_estimated else Basis.COMPUTED).value),
        ranges={f"{segment.value}_bytes": _estimate(figure) for segment, figure in exact.items()}
        if is_estimated
        else None,
    )


def _room(room: Room) -> EstimateJson:
    return EstimateJson(value=room.value_bytes, low=room.low_bytes, high=room.high_bytes)


def _host_growth(found: HostGrowth) -> HostGrowthJson:
    return HostGrowthJson(
        most_bytes=found.most_bytes,
        prompt_cache_limit_bytes=found.cache_limit_bytes,
        prompt_tokens=found.prompt_tokens,
        prompt_bytes=found.prompt_bytes,
        checkpoints_per_slot=found.checkpoints,
        checkpoint_bytes=found.checkpoint_bytes,
        checkpoints_bytes=found.checkpoints_bytes,
    )


def _estimate(figure: Figure) -> EstimateJson:
    """An amount with its range; one that is unknown has none."""
    if figure.value_bytes is None:
        return EstimateJson(value=None, low=None, high=None)
    return EstimateJson(value=figure.value_bytes, low=figure.least_bytes, high=figure.most_bytes)


def _amounts(memory: Memory) -> AmountsJson:
    return AmountsJson(
        weights_bytes=memory.bytes_of(Segment.WEIGHTS),
        kv_cache_bytes=memory.bytes_of(Segment.KV_CACHE),
        recurrent_state_bytes=memory.bytes_of(Segment.RECURRENT) or 0,
        compute_bytes=_estimate(memory[Segment.COMPUTE]),
        output_bytes=memory.bytes_of(Segment.OUTPUT) or 0,
    )


def _pool_estimate(found: PoolEstimate | None) -> LikelyPoolJson | None:
    """The likely pool of a rank, where vLLM measures what is left for it."""
    if found is None:
        return None
    pool = found.pool
    return LikelyPoolJson(
        bytes_per_rank=RangeJson(value=pool.value_bytes or 0, low=pool.least_bytes, high=pool.most_bytes or 0),
        kv_cache_tokens=RangeJson(value=found.tokens, low=found.tokens_low, high=found.tokens_high),
        max_concurrency=RangeJson(value=found.concurrency, low=found.concurrency_low, high=found.concurrency_high),
    )
