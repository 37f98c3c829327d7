"""The plan needs more memory than a device has.

Why: llama-server moves layers to the host or shortens the context only for what was not given (`--fit`): with both `-c`
and `-ngl` on the command line it fails instead. vLLM fails when weights leave no room for a pool. MLX swaps.

Source: common/fit.cpp, llama.cpp b11434; vLLM 0.32.0 `v1/worker/gpu_worker.py`.

Cost: computed: what is missing.

Fix: a shorter context, a quantized cache, smaller weights, fewer layers on the device; the finding names the gap.

Fires on: `-c 131072 -ngl 99` of Llama 3.1 8B on 12 GiB. Quiet on: the same with `-c 16384`.
"""

import math
from dataclasses import replace

from kvtop.analysis.lint.after_fit import after_fit
from kvtop.analysis.lint.amounts import device_bytes, exact, weight_bytes
from kvtop.analysis.lint.fixes.fix import Fix, Way, options, smaller_cache
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import one_card_for_every_rank, utilization_of, whole
from kvtop.domain.answers.plan_answer import device_fit
from kvtop.domain.answers.room import Fit, Room, room_of
from kvtop.domain.memory import Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan, PlanDevice, Refusal
from kvtop.planning.llamacpp.fit.largest_context import largest_context
from kvtop.planning.llamacpp.fit.outcome import Loaded
from kvtop.planning.protocol.lint_traits import CacheProvision
from kvtop.planning.registry import PLANNED

ENGINES = PLANNED
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 131072 -ngl 99", gpus=("12GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -c 16384 -ngl 99", gpus=("12GiB",), model="llama-3.1-8b")
MOST_RANKS = 16


def check(target: LintTarget) -> Outcome:
    """Needs the plan and the devices; a server that runs has its memory already."""
    if target.observed is not None:
        return None
    plan = target.plan
    if plan is None:
        return None if target.refusal else Lacks(f"no plan: {target.plan_note}")
    if target.traits.cache is CacheProvision.GROWING:
        return _growing(target, plan)
    if not target.devices:
        return _host(target, plan) if target.are_devices_known else Lacks("the devices are unknown: pass --gpu")
    if target.traits.cache is CacheProvision.POOL:
        return _pool(target, plan)
    return _cells(target)


def _cells(target: LintTarget) -> Outcome:
    """What the engine loads, after all that `--fit` may change."""
    found = after_fit(target)
    plan = target.plan if found is None or isinstance(found, Refusal) else found.plan
    is_fitted = isinstance(found, Loaded) and found.fit.is_applied
    for device in target.devices if plan is not None else ():
        part = None if plan is None else plan.device(device.name)
        room = room_of(device)
        if part is None or room is None:
            continue
        fit = device_fit(part, room).fit
        if fit in {Fit.TOO_LARGE, Fit.TIGHT} and not is_fitted:
            return _short(target, device.name, device_bytes(part), room, sure=fit is Fit.TOO_LARGE)
    return _spilled(target, found) if isinstance(found, Loaded) and is_fitted else None


def _spilled(target: LintTarget, found: Loaded) -> Found | None:
    """It starts: `--fit` leaves layers, or the experts of a mixture, on the host."""
    values, given = found.fit.values, found.given
    on_host = [it for it in set(values.overrides) - set(given.overrides) if it[1] == "CPU"]
    if found.asked is None or not (on_host or 0 <= values.n_gpu_layers != given.n_gpu_layers):
        return None
    if not on_host and found.layers <= values.n_gpu_layers:
        return None  # a split over cards alone
    asked = {part.name: device_bytes(part) for part in found.asked.devices}
    rooms = {it.name: it.total_bytes if it.free_bytes is None else it.free_bytes for it in target.devices}
    needed = sum(asked.get(name, 0) for name in rooms)
    there = sum(room or 0 for room in rooms.values())
    names = ", ".join(rooms)
    return Found(
        "info",
        f"{names} cannot hold all of it, so --fit will load {found.fit.change}: what the host holds is slower",
        evidence=f"{target.said('ctx-size') or 'no -c'}, no -ngl; {exact(needed)} needed, {exact(there)} there",
        cost=f"{exact(max(needed - there, 0))} too little" if needed > there else "less than the margin is left",
        fix=(*_what_fits(target), "smaller weights"),
    )


def _short(target: LintTarget, name: str, needed: int, room: Room, *, sure: bool) -> Found:
    gap = (
        f"{exact(needed - room.value_bytes)} too little"
        if needed > room.value_bytes
        else f"{exact(room.value_bytes - needed)} left, by the likeliest figure"
    )
    return Found(
        # Most of what is tight starts, as public logs show: no warning, which would fail a good command.
        "error" if sure else "info",
        f"{name} {'cannot' if sure else 'may not'} hold what the command asks for, and --fit may not change it",
        evidence=(
            f"{target.said('ctx-size', 'gpu-layers', 'fit')}; {exact(needed)} needed, {exact(room.value_bytes)} there"
        ),
        cost=gap,
        fix=(*_what_fits(target), _placed_by_fit(target)),
        otherwise="smaller weights, or a larger card",
    )


def _what_fits(target: LintTarget) -> tuple[Way, ...]:
    """An even split, eight bits for the cache, the largest context: which of them fit is tried on their plans."""
    ways: list[Way] = [options(tensor_split=None)] if target.option("tensor-split") else []
    ways += smaller_cache(target)
    if target.prepared is not None:
        most = largest_context(target.prepared, target.llama, target.devices, target.where.rooms, target.draft)
        now = target.plan.context.n_ctx if target.plan is not None and target.plan.context is not None else 0
        if 0 < most.tokens < now:
            ways.append(options(ctx_size=str(most.tokens)))
    return tuple(ways)


def _cards(plan: MemoryPlan) -> list[DeviceShare]:
    return [part for part in plan.devices if part.name != "host"]


def _placed_by_fit(target: LintTarget) -> Way:
    names = [name for name in ("gpu-layers", "tensor-split", "override-tensor", "cpu-moe") if target.option(name)]
    if not names or not target.llama.fit:
        return "fewer layers on the device (-ngl)"
    return Fix(tuple((name, None) for name in names), ", and --fit places what fits")


def _pool(target: LintTarget, plan: MemoryPlan) -> Outcome:
    utilization = utilization_of(target)
    for device in target.devices:
        part = plan.device(device.name)
        if part is None or device.total_bytes is None:
            continue
        weights, compute = part.memory[Segment.WEIGHTS], part.memory[Segment.COMPUTE]
        if weights.value_bytes is None:
            return Lacks("the weights on the card are unknown")
        share = math.ceil(device.total_bytes * utilization)
        least = weights.value_bytes + compute.least_bytes
        if least > share:
            return Found(
                "error",
                f"weights alone fill the {utilization:.0%} of {device.name} that vLLM may take: no room for a KV pool",
                evidence=f"{exact(weights.value_bytes)} of weights per rank; {exact(share)} is vLLM's share",
                cost=f"{exact(least - share)} too little",
                fix=(*_more_cards(target), "a quantized checkpoint", "a larger card"),
            )
    return None


def _more_cards(target: LintTarget) -> tuple[Way, ...]:
    """The fewest ranks of this card whose share of the weights leaves room, if they are 16 at most."""
    ranks = whole(target, "tensor-parallel-size") or 1
    for more in (ranks * 2, ranks * 4, ranks * 8, ranks * 16):
        if more > MOST_RANKS or not target.devices:
            break
        cards = one_card_for_every_rank(target.devices[:1], more)
        plan = replace(target, where=replace(target.where, devices=cards)).plan_with(tensor_parallel_size=str(more))
        if plan is not None and all(_has_room(part, cards[0], utilization_of(target)) for part in _cards(plan)):
            return (replace(options(tensor_parallel_size=str(more)), cards=more),)
    return ("more cards (--tensor-parallel-size)",)


def _has_room(part: DeviceShare, card: PlanDevice, utilization: float) -> bool:
    weights_bytes, compute_bytes = part.memory.bytes_of(Segment.WEIGHTS), part.memory[Segment.COMPUTE].most_bytes
    if weights_bytes is None or compute_bytes is None or card.total_bytes is None:
        return False
    return weights_bytes + compute_bytes < math.ceil(card.total_bytes * utilization)


def _growing(target: LintTarget, plan: MemoryPlan) -> Outcome:
    rooms = [device.total_bytes for device in target.devices if device.total_bytes is not None]
    room = sum(rooms) if rooms else None
    weights = weight_bytes(plan)
    if room is None or weights is None:
        return Lacks("the memory of the machine, or the weights, are unknown: pass --gpu SIZE,backend=metal")
    if weights <= room:
        return None
    return Found(
        "error",
        "the weights alone are larger than the memory",
        evidence=f"{exact(weights)} of weights, {exact(room)} of memory",
        cost=f"{exact(weights - room)} too little",
        fix="a checkpoint with fewer bits",
    )


def _host(target: LintTarget, plan: MemoryPlan) -> Outcome:
    part = plan.device("host")
    if part is None or target.host_total_bytes is None:
        return Lacks("the host's memory is unknown")
    needed = device_bytes(part)
    if needed <= target.host_total_bytes:
        return None
    return Found(
        "warning",
        "the host has less memory than weights, cache and buffers take: weights are read from the disk again and again",
        evidence=f"{exact(needed)} needed, {exact(target.host_total_bytes)} there",
        cost=f"{exact(needed - target.host_total_bytes)} too little",
        fix="smaller weights"
        if (part.memory.bytes_of(Segment.WEIGHTS) or 0) > target.host_total_bytes
        else ("a smaller -c", *(smaller_cache(target) if target.settings is not None else ()), "smaller weights"),
    )
