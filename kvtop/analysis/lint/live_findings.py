"""Findings of running servers. What cannot change between two ticks is asked once."""

from dataclasses import replace

from kvtop.analysis.lint.finding_memory import FindingMemory
from kvtop.analysis.lint.linting import lint, ordered
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.surroundings import ModelFiles, Surroundings
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.planned.live_plan import PlanMemory
from kvtop.domain.device import Device
from kvtop.domain.frame import ServerView
from kvtop.domain.plan import PlanDevice
from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.llamacpp.memory.prepared import PreparedModel

HOST = "host"


def with_findings(
    memory: FindingMemory,
    plans: PlanMemory,
    view: ServerView,
    before: ServerReading | None,
    sample: Sample,
    devices: tuple[PlanDevice, ...],
) -> ServerView:
    """The view with what every rule says of it."""
    target = _target(plans, view, sample, devices)
    lasting = target.observed if target.observed is not None else Observed()
    key = (
        target.launch,
        target.stated,
        target.plan,
        id(target.model),
        id(target.draft),
        devices,
        lasting,
        target.where.environ,
    )
    known = memory.settled.get(view.reading.id)
    if known is None or known[0] != key:
        known = (key, lint(target, memory.suppressions, changing=False, fixes=memory.fixes))
        memory.settled[view.reading.id] = known
    seen = _observed(memory, view, before, sample, lasting)
    result = known[1] + lint(replace(target, observed=seen), memory.suppressions, changing=True, fixes=memory.fixes)
    return replace(
        view,
        findings=ordered(result.findings),
        not_evaluated=result.not_evaluated,
        rules_asked=result.asked,
        suppressed=result.suppressed,
    )


def _target(plans: PlanMemory, view: ServerView, sample: Sample, devices: tuple[PlanDevice, ...]) -> LintTarget:
    """The server without what changes from tick to tick."""
    reading = view.reading
    processes = {it.pid: it for it in sample.processes}
    own = [processes[pid] for pid in reading.pids if pid in processes]
    where = Surroundings(
        devices=devices,
        are_devices_known=bool(devices) or (bool(own) and not reading.is_remote),
        host_total_bytes=_host_total(sample.devices),
        environ=_environ(own),
    )
    lasting = Observed(
        slot_context_tokens=reading.slot_context_tokens,
        sequence_limit_tokens=reading.sequence_limit_tokens,
        has_metrics=True if reading.counters.prompt_tokens_total is not None else None,
        has_slots=_has_slots(reading),
        listeners=_listeners(own),
        wants_key=reading.wants_key,
        has_own_network=any(it.shares_network is False for it in own),
    )
    return LintTarget.from_server(reading, _files(plans, reading, sample), where, view.plan, view.plan_note, lasting)


def _files(plans: PlanMemory, reading: ServerReading, sample: Sample) -> ModelFiles:
    """Models as the live plan has prepared them; one without a rule for its architecture as its file says it."""
    model = sample.models.get(reading.model_key) if reading.model_key is not None else None
    draft = sample.models.get(reading.draft_key) if reading.draft_key is not None else None
    return ModelFiles(
        name=f"{reading.model.name or ''} {reading.model.path or ''}",
        model=_prepared(plans, reading.model_key, model) or model,
        note="" if model is not None else "the model file could not be read (see Sources)",
        draft=_prepared(plans, reading.draft_key, draft),
    )


def _prepared(plans: PlanMemory, key: str | None, model: object) -> PreparedModel | None:
    """As the live plan has prepared it; without a rule for the architecture there is none."""
    known = plans.prepared.get(key) if key is not None else None
    return known[1] if known is not None and known[0] is model else None


def _observed(
    memory: FindingMemory, view: ServerView, before: ServerReading | None, sample: Sample, lasting: Observed
) -> Observed:
    counters = view.reading.counters
    total = counters.preemptions_total
    earlier = None if before is None else before.counters.preemptions_total
    held = [split.driver.value_bytes for split in view.splits if split.device_id != HOST]
    known = [size for size in held if size is not None]
    return replace(
        lasting,
        used_ratio=view.kv_cache.used_ratio,
        filling=view.time_to_full.cause,
        seconds_to_full=view.time_to_full.seconds,
        waiting_for_memory=counters.requests_waiting_for_memory,
        requests_running=counters.requests_processing,
        is_preempting=None if total is None or earlier is None else total > earlier,
        preemptions_total=total,
        longest_sequence_tokens=None if counters.sequence_tokens_max is None else int(counters.sequence_tokens_max),
        idle_seconds=_idle_seconds(memory, view.reading, sample),
        memory_held_bytes=sum(known) if known and len(known) == len(held) else None,
        disagreements=None if view.plan is None else view.disagreements,
    )


def _idle_seconds(memory: FindingMemory, reading: ServerReading, sample: Sample) -> float | None:
    """Since a counter or a slot last moved while kvtop watched; since the start for a server that never served."""
    counters = reading.counters
    served = (counters.prompt_tokens_total, counters.generated_tokens_total)
    slots = tuple((slot.used_tokens, slot.decoded_tokens, slot.is_processing) for slot in reading.slots or ())
    if served == (None, None) and not slots:
        return None
    activity = (served, slots)
    known = memory.still.get(reading.id)
    if known is None or known[0] != activity:
        known = (activity, sample.taken_at)
        memory.still[reading.id] = known
    if counters.requests_processing or any(slot.is_processing for slot in reading.slots or ()):
        return 0.0
    started = [it.started_at for it in sample.processes if it.pid in reading.pids and it.started_at is not None]
    never = served == (0.0, 0.0) or (served == (None, None) and all(not used for used, _, _ in slots))
    since = min(known[1], *started) if never and started else known[1]
    watched = sample.taken_at - since
    return watched if watched > 0 or never else None


def _has_slots(reading: ServerReading) -> bool | None:
    """Whether it tells of its slots; None where it may only do so to those who have its key, or tells nothing yet."""
    if reading.slots is not None:
        return True
    return False if reading.state is ServerState.READY and not reading.wants_key else None


def _listeners(processes: list[Process]) -> tuple[str, ...] | None:
    found = [listener.address for it in processes if it.listeners_certain for listener in it.listeners]
    return tuple(dict.fromkeys(found)) or None


def _environ(processes: list[Process]) -> tuple[tuple[str, str], ...] | None:
    """What its processes were given; None where none of them lets itself be read."""
    readable = [it.environ for it in processes if it.environ is not None]
    merged = {name: value for environ in readable for name, value in environ}
    return tuple(merged.items()) if readable else None


def _host_total(devices: tuple[Device, ...]) -> int | None:
    return next((it.memory.total_bytes for it in devices if it.is_host), None)
