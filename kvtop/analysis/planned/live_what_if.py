"""A running server as something that what-ifs can be asked of: its options, model and devices, its measured rest."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvtop.analysis.attribution.device_assignment import DeviceAssignment, device_assignment
from kvtop.analysis.evidence import evidence_for
from kvtop.analysis.planned.live_plan import PLANS_KEPT, PlanMemory, devices_for, prepared, running_launch
from kvtop.analysis.planned.placement import Placed, placed
from kvtop.domain.answers.cache_speed import CacheSpeed
from kvtop.domain.answers.evidence import Evidence, Measurement
from kvtop.domain.answers.room import Room
from kvtop.domain.answers.what_if import KnobState, WhatIf, WhatIfAnswer
from kvtop.domain.frame import ServerView
from kvtop.domain.launch import Origin
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, Refusal
from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.planning.adjustments import knob_names, knob_values
from kvtop.planning.cache_speed import cache_speed
from kvtop.planning.commands.launch_command import Host, host_of, instruction
from kvtop.planning.gpus.visible_devices import usable_bytes
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.protocol.plan_context import PlanContext
from kvtop.planning.registry import engine_rules, plan_launch, traits_of
from kvtop.planning.what_if import compare
from kvtop.text import plain_number

SEQUENCE_TOKENS = 32768
"""The length of a sequence that a what-if starts with where the cache grows, or the trained one where that is less."""
_STEP = 64 * 2**20
"""Rooms are rounded down to it: other processes breathe, and an answer must not flicker with them."""
_REFERENCE = frozenset({"f16", "bf16", "f32", "auto", "16"})


@dataclass(frozen=True, slots=True)
class WhatIfBaseline:
    """`words` is the present command with secrets masked, `host` what started it. `now` is the plan of `base`."""

    server_id: str
    plan_context: PlanContext
    base: WhatIf
    now: MemoryPlan
    words: tuple[str, ...]
    host: Host
    model: str
    version: str | None
    trained_tokens: int | None


def what_if_baseline(sample: Sample, view: ServerView, memory: PlanMemory) -> WhatIfBaseline | str:
    """The server of this view, or the reason why nothing can be asked of it."""
    reading = view.reading
    model = sample.models.get(reading.model_key) if reading.model_key is not None else None
    rules = engine_rules(reading.launch.engine) if reading.launch is not None else None
    if view.plan is None or model is None or reading.model_key is None or rules is None:
        return view.plan_note or "this server has no plan"
    processes = {process.pid: process for process in sample.processes}
    where = device_assignment(reading, sample.devices, processes, sample.models, sample.unseen_makers)
    own = processes.get(reading.pids[0]) if reading.pids else None
    environ = dict((own.environ or ()) if own is not None else ())
    on = placed(reading, where.accelerators, sample.devices, environ)
    launch, measured = running_launch(reading)
    devices = devices_for(launch, on.plan_devices)
    draft_file = sample.models.get(reading.draft_key) if reading.draft_key is not None else None
    try:
        ready = prepared(memory, reading.model_key, model)
        draft = prepared(memory, reading.draft_key or "", draft_file) if isinstance(draft_file, GgufHeader) else None
    except NoExactRuleError as error:
        return str(error)
    calibrated = {on.name_of(it.device_id): it.beyond_bytes for it in view.calibration}
    rooms, held = _rooms(sample, view, where, on)
    plan_context = PlanContext(
        ready,
        devices,
        rooms,
        calibrated,
        draft if isinstance(draft, PreparedModel) else None,
        held | calibrated.keys(),
        compute_bytes={} if where.is_shared else _compute_bytes(view, on),
        measured=rules.kept(measured, view.plan),
    )
    trained = rules.trained_tokens(ready)
    at_tokens = min(trained or SEQUENCE_TOKENS, SEQUENCE_TOKENS) if rules.traits.cache_grows else None
    now = view.plan
    if any(it.origin is Origin.ASSUMED for it in launch.options):
        # Where its layers lie was inferred, within a range: a what-if starts from the likely one.
        likely = plan_launch(launch, ready, devices, draft=draft)
        now = now if isinstance(likely, Refusal) else likely
    if at_tokens is not None:
        key = (reading.model_key, reading.draft_key, launch, measured, devices), at_tokens
        if key not in memory.lengths:
            if len(memory.lengths) >= PLANS_KEPT:
                memory.lengths.clear()
            memory.lengths[key] = plan_launch(launch, ready, devices, at_tokens=at_tokens, measured=measured)
        longer = memory.lengths[key]
        if isinstance(longer, Refusal):
            return longer.message
        now = longer
    return WhatIfBaseline(
        reading.id,
        plan_context,
        WhatIf(launch, at_tokens=at_tokens),
        now,
        _words(own, launch.engine, [(it.name, it.value) for it in launch.options if it.origin is not Origin.ASSUMED]),
        host_of(own.argv if own is not None else None, _parent_argv(own, processes)),
        now.model,
        reading.version,
        trained,
    )


def _compute_bytes(view: ServerView, on: Placed) -> dict[str, int]:
    """What attribution makes of the compute memory where the driver's figure bounds it, by the plan's names."""
    sizes = {on.name_of(it.device_id): it.memory.bytes_of(Segment.COMPUTE) for it in view.splits}
    calibrated = {on.name_of(it.device_id) for it in view.calibration}
    return {name: size for name, size in sizes.items() if size is not None and name in calibrated}


def answer(baseline: WhatIfBaseline, what_if: WhatIf, own: tuple[Measurement, ...] = ()) -> WhatIfAnswer:
    """Plan it, and say what it does to quality and speed and how to get it."""
    compared = compare(replace(baseline.plan_context, is_restart=True), baseline.now, what_if)
    then = compared.then if isinstance(compared.then, MemoryPlan) else None
    told = instruction(baseline.host, what_if.base, what_if.changes, baseline.words)
    return WhatIfAnswer(
        baseline.server_id,
        baseline.model,
        compared,
        _knobs(baseline, what_if, then),
        _evidence(baseline, what_if, then, own),
        _speed(baseline, what_if, then),
        told.where,
        told.text,
        told.notes,
        what_if != baseline.base,
        _kept_sequences(what_if, then),
    )


def _kept_sequences(what_if: WhatIf, then: MemoryPlan | None) -> int | None:
    """Of engines whose caches grow with each sequence, by their own knob."""
    traits = traits_of(what_if.base.engine)
    kept = knob_values(what_if, then).get("slots", "")
    return plain_number(kept) if traits is not None and traits.cache_grows else None


def _knobs(baseline: WhatIfBaseline, what_if: WhatIf, then: MemoryPlan | None) -> tuple[KnobState, ...]:
    names = knob_names(what_if.base.engine)
    now_at = knob_values(baseline.base, baseline.now)
    then_at = knob_values(what_if, then)
    return tuple(KnobState(knob, names[knob], now_at[knob], then_at[knob]) for knob in then_at if knob in names)


def _evidence(
    baseline: WhatIfBaseline, what_if: WhatIf, then: MemoryPlan | None, own: tuple[Measurement, ...]
) -> Evidence | None:
    pair = cache_pair(what_if, then)
    if set(pair) <= _REFERENCE:
        return None
    return evidence_for(baseline.model, baseline.now.architecture, *pair, own)


def cache_pair(what_if: WhatIf, then: MemoryPlan | None) -> tuple[str, str]:
    """The cache types as evidence names them."""
    rules = engine_rules(what_if.base.engine)
    return ("auto", "auto") if rules is None else rules.cache_pair(what_if, then)


def _speed(baseline: WhatIfBaseline, what_if: WhatIf, then: MemoryPlan | None) -> CacheSpeed | None:
    if then is None:
        return None
    context = baseline.plan_context
    return cache_speed(what_if.launch, then, context.model, context.devices, version=baseline.version)


def _rooms(
    sample: Sample, view: ServerView, where: DeviceAssignment, on: Placed
) -> tuple[dict[str, Room | None], frozenset[str]]:
    """What each part of the plan could have: what is free, and what this server holds there itself.

    A driver that hides what the server holds (WSL, containers) does not make that nothing: its plan stands in. What it
    holds beyond the plan is then missing on both sides, in the room and in the need. The second answer names those
    parts. On a machine with one memory what it holds is in all of them, and the scarcest one counts. Nothing is
    reserved: its own context and its pool are in what it holds.
    """
    splits = {split.device_id: split.driver.value_bytes for split in view.splits}
    found: dict[str, list[int | None]] = {}
    planned: set[str] = set()
    totals: dict[str, int | None] = {}
    for device in sample.devices:
        if device.id not in splits and not device.is_host:
            continue
        name, free_bytes = on.name_of(device.id), device.memory.free_bytes
        held_bytes = splits.get(device.id)
        if held_bytes is None and where.is_shared:
            held_bytes = next(iter(splits.values()), None)
        elif held_bytes is None and view.plan is not None and view.plan.device(name) is not None:
            held_bytes = _planned_bytes(view.plan, name)
            planned.add(name)
        whole = None if free_bytes is None or held_bytes is None else (free_bytes + held_bytes) // _STEP * _STEP
        found.setdefault(name, []).append(whole)
        totals.setdefault(name, usable_bytes(device.memory))
    scarcest = {name: min((it for it in amounts if it is not None), default=None) for name, amounts in found.items()}
    rooms = {name: None if size is None else Room(size, totals.get(name)) for name, size in scarcest.items()}
    return rooms, frozenset(planned)


def _planned_bytes(plan: MemoryPlan, name: str) -> int | None:
    part = plan.device(name)
    return None if part is None else part.memory.total.value_bytes


def _words(own: Process | None, engine: str, options: list[tuple[str, str | None]]) -> tuple[str, ...]:
    """The command as it was typed; without it the options that are known."""
    if own is not None and own.argv:
        return own.argv
    rules = engine_rules(engine)
    return (engine,) if rules is None else (*rules.traits.program, *rules.option_words(options))


def _parent_argv(own: Process | None, processes: Mapping[int, Process]) -> tuple[str, ...] | None:
    parent = processes.get(own.ppid) if own is not None and own.ppid is not None else None
    return None if parent is None else parent.argv
