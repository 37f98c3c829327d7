"""Where a running server's model lies, where its engine placed it itself: inferred once for what is seen of it."""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.analysis.planned.live_plan import (
    PLANS_KEPT,
    PlanMemory,
    devices_for,
    live_plan,
    prepared,
    running_launch,
)
from kvtop.analysis.planned.placement import HOST, Placed
from kvtop.analysis.planned.spanned import spanned
from kvtop.domain.launch import LaunchOption, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import GgufHeader, ModelFile
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice
from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.protocol.placement_evidence import PlacedOptions, PlacementEvidence
from kvtop.planning.registry import engine_rules

NOT_INFERRED = PlacedOptions()
_STEP = 128 * 2**20
"""Bytes of drivers are rounded to it: a pool breathes, and a placement must not flicker with it."""


def planned_where_it_lies(
    memory: PlanMemory, reading: ServerReading, models: Mapping[str, ModelFile], on: Placed
) -> tuple[ServerReading, MemoryPlan | None, str]:
    """The reading with its placement pinned, its plan with the range that this leaves open, and what to say."""
    pinned, placement = with_placement(memory, reading, models, on)
    plan, note = live_plan(memory, pinned, models, on.plan_devices, placement.words)
    if plan is None or not placement.bounds:
        return pinned, plan, note
    ends = [live_plan(memory, it, models, on.plan_devices)[0] for it in bounds_of(pinned, placement)]
    return pinned, spanned(plan, [end for end in ends if end is not None], placement.words), note


def with_placement(
    memory: PlanMemory, reading: ServerReading, models: Mapping[str, ModelFile], on: Placed
) -> tuple[ServerReading, PlacedOptions]:
    """The reading with the options that pin its placement, and how that is known; as it is where it was typed.

    A server that loads or sleeps says nothing of where its model lies.
    """
    model = models.get(reading.model_key) if reading.model_key is not None else None
    rules = engine_rules(reading.launch.engine) if reading.launch is not None else None
    if model is None or rules is None or reading.launch is None or not on.plan_devices:
        return reading, NOT_INFERRED
    if reading.state in {ServerState.LOADING, ServerState.SLEEPING} or reading.sleep_level:
        return reading, NOT_INFERRED
    launch, measured = running_launch(reading)
    devices = devices_for(launch, _without_it(reading, on))
    seen = _observed(reading, on)
    key = (reading.model_key, reading.draft_key, launch, measured, devices, *_rounded(seen))
    if key not in memory.placements:
        if len(memory.placements) >= PLANS_KEPT:
            memory.placements.clear()
        draft_file = models.get(reading.draft_key) if reading.draft_key is not None else None
        try:
            ready = prepared(memory, reading.model_key or "", model)
            is_draft = isinstance(draft_file, GgufHeader)
            draft = prepared(memory, reading.draft_key or "", draft_file) if is_draft and draft_file else None
        except NoExactRuleError:
            return reading, NOT_INFERRED
        memory.placements[key] = rules.running_placement(launch, measured, ready, devices, draft, seen)
    found = memory.placements[key]
    return _with_options(reading, found.options, found.words), found


def bounds_of(reading: ServerReading, found: PlacedOptions) -> tuple[ServerReading, ...]:
    """The reading as it would be with the least and with the most on its devices that is possible."""
    return tuple(_with_options(reading, options, found.words) for options in found.bounds)


def _with_options(reading: ServerReading, options: tuple[tuple[str, str], ...], words: str) -> ServerReading:
    if not options or reading.launch is None:
        return reading
    kept = tuple(it for it in reading.launch.options if it.origin is not Origin.ASSUMED)
    added = tuple(LaunchOption(name, value, Origin.ASSUMED, words) for name, value in options)
    return replace(reading, launch=replace(reading.launch, options=(*kept, *added)))


def _without_it(reading: ServerReading, on: Placed) -> tuple[PlanDevice, ...]:
    """The devices with what is free without this server; unknown where no driver says what it holds itself."""
    pids = frozenset(reading.pids)
    pairs = zip(on.plan_devices, on.devices, strict=True)
    return tuple(
        planned if any(row.pid in pids for row in device.processes or ()) else replace(planned, free_bytes=None)
        for planned, device in pairs
    )


def _observed(reading: ServerReading, on: Placed) -> PlacementEvidence:
    pids = frozenset(reading.pids)
    held: dict[str, int] = {}
    for device, name in zip(on.devices, on.names, strict=True):
        rows = [row.used_bytes for row in device.processes or () if row.pid in pids]
        known = [amount for amount in rows if amount is not None]
        if rows and len(known) == len(rows):
            held[name] = sum(known)
    # The engine counts its accelerators as the plan does.
    logged = {
        (report.device_id or "").removeprefix("engine "): report.memory.bytes_of(Segment.WEIGHTS)
        for report in reading.memory_reports
        if report.device_id not in {None, HOST}
    }
    is_whole = bool(logged) and all(amount is not None for amount in logged.values())
    return PlacementEvidence(
        held,
        {name: amount for name, amount in logged.items() if amount is not None} if is_whole else {},
        max((report.rounding_bytes for report in reading.memory_reports), default=0),
    )


def _rounded(seen: PlacementEvidence) -> tuple[object, ...]:
    held = tuple(sorted((name, amount // _STEP) for name, amount in seen.held_bytes.items()))
    return held, tuple(sorted(seen.weights_bytes.items()))
