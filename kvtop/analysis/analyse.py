"""One tick: a Sample and what came before it make a Frame. No I/O, no clock: the time is the Sample's."""

from dataclasses import dataclass, field

from kvtop.analysis.attribution import cache_use, driver_bytes, split_on
from kvtop.analysis.cache_view import cache_view
from kvtop.analysis.calibration import Calibrations
from kvtop.analysis.disagreements import disagreements
from kvtop.analysis.facts import facts
from kvtop.analysis.growth import Watched, held_tokens, time_to_full
from kvtop.analysis.live_plan import HOST, Placed, PlanMemory, live_plan, placed
from kvtop.analysis.rates import generated_per_second, prompt_per_second
from kvtop.analysis.segments import Parts, merged, planned_parts, pool_used_bytes, reported_parts
from kvtop.analysis.verdict import verdict
from kvtop.domain.device import Device
from kvtop.domain.figure import UNKNOWN, Figure
from kvtop.domain.frame import DeviceView, Frame, ServerView, Split
from kvtop.domain.headroom import Headroom
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading


@dataclass(slots=True)
class History:
    """What the next tick needs of the ones before: readings, growth, calibrations, and plans that have not changed."""

    taken_at: float | None = None
    readings: dict[str, ServerReading] = field(default_factory=dict)
    plans: PlanMemory = field(default_factory=PlanMemory)
    growth: dict[str, Watched] = field(default_factory=dict)
    calibrations: Calibrations = field(default_factory=Calibrations)


def analyse(history: History, sample: Sample, version: str) -> Frame:
    """The Frame of this Sample. `history` is brought up to date for the next tick."""
    processes = {process.pid: process for process in sample.processes}
    servers = tuple(_server_view(history, reading, sample, processes) for reading in sample.servers)
    devices = tuple(_device_view(device, servers, sample.taken_at) for device in sample.devices)
    history.taken_at = sample.taken_at
    history.readings = {reading.id: reading for reading in sample.servers}
    history.growth = {name: watched for name, watched in history.growth.items() if name in history.readings}
    history.calibrations.forget_all_but(sample.servers)
    return Frame(sample.taken_at, sample.host, version, devices, servers, sample.failures, sample.pending)


def _server_view(history: History, reading: ServerReading, sample: Sample, processes: dict[int, Process]) -> ServerView:
    pids = frozenset(reading.pids)
    totals = [(device, driver_bytes(device, pids, processes)) for device in sample.devices]
    present = [(device, driver) for device, driver in totals if driver is not None]
    on = placed(reading, tuple(device for device, _ in present if device.backend != HOST))
    plan, note = live_plan(history.plans, reading, sample.models, on.plan_devices)
    splits, compared = _splits(reading, plan, on, present)
    watched = history.growth.setdefault(reading.id, Watched())
    watched.add(sample.taken_at, held_tokens(reading))
    filling = time_to_full(watched, reading, plan)
    headroom = _headroom(filling.tokens_left, on, present)
    prompt, generated = _rates(history, reading, sample.taken_at)
    cache = cache_view(reading, plan)
    return ServerView(
        reading=reading,
        splits=splits,
        kv_cache=cache,
        plan=plan,
        plan_note=note,
        prompt_tokens_per_second=prompt,
        generated_tokens_per_second=generated,
        verdict=verdict(reading, filling, headroom),
        headroom=headroom,
        time_to_full=filling,
        calibration=history.calibrations.learn(reading, splits),
        disagreements=disagreements(reading, plan, compared),
        facts=facts(reading, cache, plan, processes),
    )


def _splits(
    reading: ServerReading, plan: MemoryPlan | None, on: Placed, present: list[tuple[Device, Figure]]
) -> tuple[tuple[Split, ...], list[tuple[str, Parts | None, Parts | None]]]:
    """A split a device, and beside it what was computed and what was reported."""
    use = cache_use(plan, reading.slots) if plan is not None else None
    splits: list[Split] = []
    compared: list[tuple[str, Parts | None, Parts | None]] = []
    rows = [(device.id, device.backend, driver, on.name_of(device.id)) for device, driver in present]
    if not rows and plan is not None:
        # Nobody measures it (remote, or its process is hidden): the plan alone, no total to add up to.
        rows = [(f"{part.name} (not measured)", "", UNKNOWN, part.name) for part in plan.devices]
    for device_id, backend, driver, name in rows:
        part = plan.device(name) if plan is not None else None
        planned = planned_parts(plan, part) if plan is not None else None
        reported = reported_parts(reading.memory_reports, device_id)
        parts = merged(planned, reported)
        used = use.used_bytes(plan, part) if use is not None and plan is not None and part is not None else None
        if used is None and parts is not None and reading.pools:
            used = pool_used_bytes(parts.kv_cache, reading.pools)
        splits.append(split_on(device_id, backend, driver, parts, used))
        compared.append((device_id, planned, reported))
    return tuple(splits), compared


def _headroom(tokens_left: int | None, on: Placed, present: list[tuple[Device, Figure]]) -> Headroom:
    """Free bytes of the devices that matter to a server: its accelerators, or the host where it has none."""
    devices = on.devices or tuple(device for device, _ in present)
    return Headroom(tokens_left, tuple((device.id, device.memory.free_bytes) for device in devices))


def _rates(history: History, reading: ServerReading, taken_at: float) -> tuple[float | None, float | None]:
    before = history.readings.get(reading.id)
    if before is None or history.taken_at is None:
        return None, None
    elapsed_seconds = taken_at - history.taken_at
    prompt = prompt_per_second(before, reading, elapsed_seconds)
    return prompt, generated_per_second(before, reading, elapsed_seconds)


def _device_view(device: Device, servers: tuple[ServerView, ...], taken_at: float) -> DeviceView:
    splits = tuple(
        (server.reading.id, split)
        for server in servers
        for split in server.splits
        if split.device_id == device.id and split.driver.value_bytes is not None
    )
    used_bytes = device.memory.used_bytes
    explained = sum(split.driver.value_bytes or 0 for _, split in splits)
    return DeviceView(
        device=device,
        splits=splits,
        # Resident file pages count as available for the system, so a server's RSS can exceed the host's used bytes.
        other_bytes=None if used_bytes is None else max(used_bytes - explained, 0),
        age_seconds=float(int(max(taken_at - device.measured_at, 0))),
    )
