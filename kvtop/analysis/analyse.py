"""One tick: a Sample and what came before it make a Frame. No I/O, no clock: the time is the Sample's."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from kvtop.analysis.attribution.array_counters import divided, on_its_card
from kvtop.analysis.attribution.attributed_memory import attributed_memory, is_idle_host
from kvtop.analysis.attribution.calibration import Calibrations
from kvtop.analysis.attribution.device_assignment import DeviceAssignment, device_assignment
from kvtop.analysis.attribution.device_views import device_views
from kvtop.analysis.attribution.disagreements import disagreements
from kvtop.analysis.attribution.explained_memory import is_python, merged, pool_used_bytes, reported_memory
from kvtop.analysis.attribution.near_devices import NearDevices
from kvtop.analysis.attribution.observation import Observation
from kvtop.analysis.attribution.splits import (
    NO_RUNTIME,
    PYTHON_PRIOR,
    RESIDENT_PRIOR,
    CacheUse,
    Runtime,
    cache_use,
    split_on,
    with_host_growth,
)
from kvtop.analysis.facts import facts
from kvtop.analysis.lint.finding_memory import FindingMemory
from kvtop.analysis.planned.live_plan import PlanMemory
from kvtop.analysis.planned.placement import Placed, compute_api_of, placed
from kvtop.analysis.planned.running_placement import planned_where_it_lies
from kvtop.analysis.usage.cache_view import cache_view
from kvtop.analysis.usage.rates import generated_per_second, prompt_per_second
from kvtop.analysis.usage.server_usage import ServerUsage
from kvtop.domain.answers.fault import LimitExceededError, failure_of
from kvtop.domain.device import Device
from kvtop.domain.engine_report import RankReport
from kvtop.domain.figure import UNKNOWN, Figure
from kvtop.domain.frame import NO_CACHE, Frame, ServerView, Split
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.process import Process
from kvtop.domain.sample import Failure, Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.registry import display_name, traits_of


@dataclass(slots=True)
class History:
    """What the next tick needs of the ones before: readings, growth, calibrations, and plans that have not changed."""

    taken_at: float | None = None
    readings: dict[str, ServerReading] = field(default_factory=dict)
    plans: PlanMemory = field(default_factory=PlanMemory)
    usage: dict[str, ServerUsage] = field(default_factory=dict)
    calibrations: Calibrations = field(default_factory=Calibrations)
    findings: FindingMemory = field(default_factory=FindingMemory)
    report: Callable[[str, BaseException, str], Failure] = failure_of
    """Who writes down a fault of kvtop itself, and makes a line of it."""
    limited: Callable[[Callable[[], ServerView]], ServerView] = lambda work: work()
    """Who ends the work on one server that takes too much (LimitExceededError)."""
    exceeded: dict[str, tuple[tuple[object, ...], str]] = field(default_factory=dict)
    """Servers whose work was ended, with what they were then: the same again would take as much again."""


def analyse(history: History, sample: Sample, version: str) -> Frame:
    """The Frame of this Sample. `history` is brought up to date for the next tick.

    A server over which kvtop itself fails is there without an explanation, and a Failure says so; the others go on.
    """
    processes = {process.pid: process for process in sample.processes}
    faults: list[Failure] = []
    near = NearDevices(sample.devices)
    servers = tuple(
        _explained(history, reading, replace(sample, devices=near.of(reading)), processes, faults)
        if reading.is_remote
        else _explained(history, reading, sample, processes, faults)
        for reading in sample.servers
    )
    devices = device_views(sample.devices, servers, sample.taken_at, processes)
    history.taken_at = sample.taken_at
    history.readings = {reading.id: reading for reading in sample.servers}
    history.usage = {name: usage for name, usage in history.usage.items() if name in history.readings}
    history.calibrations.forget_all_but(sample.servers)
    history.findings.forget_all_but(history.readings)
    history.exceeded = {name: it for name, it in history.exceeded.items() if name in history.readings}
    return Frame(
        sample.taken_at,
        sample.host,
        version,
        devices,
        servers,
        (*sample.failures, *faults),
        sample.pending,
        sample.is_demo,
    )


def _explained(
    history: History,
    reading: ServerReading,
    sample: Sample,
    processes: dict[int, Process],
    faults: list[Failure],
) -> ServerView:
    known = history.exceeded.get(reading.id)
    if known is not None and known[0] == _lasting(reading):
        return _unexplained(reading, known[1], faults)
    try:
        return history.limited(lambda: _server_view(history, reading, sample, processes))
    except LimitExceededError as error:
        history.exceeded[reading.id] = _lasting(reading), str(error)
        return _unexplained(reading, str(error), faults)
    except Exception as error:  # noqa: BLE001  one server's values must not end the look at the others
        fault = history.report(f"server {reading.id}", error, "explaining it")
        faults.append(fault)
        return ServerView(reading, (), NO_CACHE, None, "; ".join(filter(None, (fault.message, fault.remedy))))


def _lasting(reading: ServerReading) -> tuple[object, ...]:
    """What a plan is made from, and does not change from tick to tick."""
    return reading.pids, reading.launch, reading.model_key, reading.draft_key


def _unexplained(reading: ServerReading, limit: str, faults: list[Failure]) -> ServerView:
    """A server whose values would take the machine: shown as it answers, without a plan."""
    note = f"this server could not be explained: planning it takes {limit}"
    remedy = "look at its options and its model file: they hold numbers that no server works with"
    faults.append(Failure(f"server {reading.id}", note, remedy))
    return ServerView(reading, (), NO_CACHE, None, note)


def _server_view(history: History, reading: ServerReading, sample: Sample, processes: dict[int, Process]) -> ServerView:
    where = device_assignment(reading, sample.devices, processes, sample.models, sample.unseen_makers)
    environ = _environ(reading, processes)
    on = placed(reading, where.accelerators, sample.devices, environ)
    plan, note = None, ""
    if where.is_settled:
        reading, plan, note = planned_where_it_lies(history.plans, reading, sample.models, on)
        if plan is not None and not where.is_shared:
            plan, note = on_its_card(plan, note, on.names)
    measured = _measured(reading, plan, on, where)
    use = cache_use(plan, reading.slots) if plan is not None else None
    splits = tuple(_split(reading, plan, use, it) for it in measured)
    usage = history.usage.setdefault(reading.id, ServerUsage())
    outlook = usage.outlook(sample.taken_at, reading, plan, where)
    prompt, generated = _rates(history, reading, sample.taken_at)
    cache = cache_view(reading, plan)
    view = ServerView(
        reading=reading,
        splits=splits,
        kv_cache=cache,
        plan=plan,
        plan_note="; ".join(part for part in (note, where.note, _unread(reading, plan, processes)) if part),
        prompt_tokens_per_second=prompt,
        generated_tokens_per_second=generated,
        first_token_seconds=outlook.first_token_seconds,
        verdict=outlook.verdict,
        headroom=outlook.headroom,
        time_to_full=outlook.filling,
        calibration=history.calibrations.learn(reading, measured),
        disagreements=disagreements(reading, plan, measured),
        facts=facts(reading, cache, plan, splits, processes),
        engine_title=display_name(reading.engine),
        model_format=None if plan is None else _model_format(plan),
    )
    before = history.readings.get(reading.id)
    # The rules are half of what there is to import, and a host without servers needs none.
    from kvtop.analysis.lint.live_findings import with_findings  # noqa: PLC0415

    return with_findings(history.findings, history.plans, view, before, sample, on.plan_devices)


def _model_format(plan: MemoryPlan) -> str | None:
    traits = traits_of(plan.engine)
    return None if traits is None else traits.model_format


def _environ(reading: ServerReading, processes: dict[int, Process]) -> dict[str, str]:
    """What is known of the environment of a server's first process."""
    process = processes.get(reading.pids[0]) if reading.pids else None
    return dict(process.environ or ()) if process is not None else {}


def _unread(reading: ServerReading, plan: MemoryPlan | None, processes: dict[int, Process]) -> str:
    """What a plan owes where an environment that may hold any option is closed to us."""
    process = processes.get(reading.pids[0]) if reading.pids else None
    traits = traits_of(reading.engine)
    if plan is None or process is None or process.environ is not None:
        return ""
    if traits is None or not traits.options_from_environment:
        return ""
    return "its environment could not be read: options that are set there are unknown"


def _measured(
    reading: ServerReading, plan: MemoryPlan | None, on: Placed, where: DeviceAssignment
) -> tuple[Observation, ...]:
    """A row for each device the server is on, then one for each part of the plan that no driver measures."""
    rows = [
        (device.id, _runtime(reading, plan, device, where), driver, on.name_of(device.id))
        for device, driver in where.rows
    ]
    if plan is not None:
        seen = {name for _, _, _, name in rows} | ({"host"} if rows else set())
        rows += [
            (f"{part.name} (not measured)", NO_RUNTIME, UNKNOWN, part.name)
            for part in plan.devices
            if part.name not in seen
        ]
    current = {device.id: device.state for device, _ in where.rows}
    is_awake = reading.state not in {ServerState.LOADING, ServerState.SLEEPING}  # the others report what they will hold
    card = on.devices[0].id if on.devices else None
    reports = divided(reading.memory_reports, plan, card) if is_awake else ()
    found = []
    for device_id, runtime, driver, name in rows:
        planned, is_idle = None, False
        if plan is not None:
            planned = attributed_memory(reading, plan, name, is_shared=where.is_shared)
            is_idle = is_idle_host(reading, plan, name, is_shared=where.is_shared)
        engine = on.engine_of(device_id)
        if engine is None and _runs_on_host(reading):
            engine = 0
        reported, rounding_bytes = reported_memory(reports, device_id, name, engine) or (None, 0)
        found.append(
            Observation(
                device_id,
                runtime,
                name,
                driver,
                planned,
                reported,
                current.get(device_id),
                engine,
                rounding_bytes,
                is_idle,
            )
        )
    if not on.devices and not _runs_on_host(reading):
        found += [_of_ranks(report, len(reports)) for report in reports if report.device_id is None]
    return tuple(found)


def _runtime(reading: ServerReading, plan: MemoryPlan | None, device: Device, where: DeviceAssignment) -> Runtime:
    """What a process of this server takes on the device by itself: a prior of its API, or of a resident set."""
    if not device.is_host and not where.is_shared:
        return Runtime(compute_api_of(reading, device).runtime_prior)
    if plan is not None and is_python(plan.engine):
        return Runtime(PYTHON_PRIOR, is_resident_set=True)
    own = RESIDENT_PRIOR if device.is_host else compute_api_of(reading, device).runtime_prior
    return Runtime(own, is_resident_set=True)


def _runs_on_host(reading: ServerReading) -> bool:
    """Whether a rank's own report is of host memory: else it is of an accelerator, whether a driver shows it or not."""
    return reading.launch is not None and reading.launch.value("device") == "cpu"


def _of_ranks(report: RankReport, engines: int) -> Observation:
    """What a rank says of its accelerator, where no driver says which one that is."""
    whose = f"each rank of engine {report.engine_index}" if engines > 1 else "each rank"
    name = f"{whose} (not measured)"
    reported, _ = reported_memory((report,), name, engine_index=report.engine_index) or (None, 0)
    return Observation(name, NO_RUNTIME, name, UNKNOWN, None, reported, None, report.engine_index)


def _split(reading: ServerReading, plan: MemoryPlan | None, use: CacheUse | None, it: Observation) -> Split:
    memory = merged(it.planned, it.reported)
    used_bytes = None if memory is None else _used_bytes(reading, plan, use, it, memory[Segment.KV_CACHE])
    found = split_on(it.device_id, it.driver, memory, it.runtime, used_bytes, is_idle_host=it.is_idle_host)
    growth = None if plan is None or it.name != "host" else plan.host_growth
    return found if growth is None else with_host_growth(found, growth)


def _used_bytes(
    reading: ServerReading, plan: MemoryPlan | None, use: CacheUse | None, it: Observation, cache: Figure
) -> int | None:
    """Bytes of the KV cache on a device that hold tokens now: from slots, else from the engine's pool."""
    if cache.value_bytes is None:
        return None
    if reading.state is ServerState.SLEEPING and cache.value_bytes == 0:
        return 0
    part = plan.device(it.name) if plan is not None else None
    if use is not None and plan is not None and part is not None:
        return use.used_bytes(plan, part)
    return pool_used_bytes(cache, reading.pools, it.engine_index)


def _rates(history: History, reading: ServerReading, taken_at: float) -> tuple[float | None, float | None]:
    before = history.readings.get(reading.id)
    if before is None or history.taken_at is None:
        # A metrics server has the rate ready at the first look.
        return reading.counters.prompt_tokens_per_second, reading.counters.generated_tokens_per_second
    elapsed_seconds = taken_at - history.taken_at
    prompt = prompt_per_second(before, reading, elapsed_seconds)
    return prompt, generated_per_second(before, reading, elapsed_seconds)
