"""The plan behind a running server: its own options and model, corrected by what it says of itself."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

from kvtop.domain.figure import Basis
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.model_file import Checkpoint, GgufHeader, ModelFile
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured
from kvtop.planning.protocol.placement_evidence import PlacedOptions
from kvtop.planning.protocol.plan_context import PlannableModel
from kvtop.planning.registry import display_name, engine_rules, plan_running, version_range

PLANS_KEPT = 256
"""Free memory is part of what a plan depends on, so a long session would collect them for ever."""

_Key = tuple[str, str | None, LaunchOptions, Measured, tuple[PlanDevice, ...]]


@dataclass(slots=True)
class PlanMemory:
    """Plans that have not changed. A plan is a pure function of its key, so remembering changes no result."""

    prepared: dict[str, tuple[GgufHeader, PreparedModel]] = field(default_factory=dict)
    plans: dict[_Key, tuple[MemoryPlan | None, str, str]] = field(default_factory=dict)
    placements: dict[Hashable, PlacedOptions] = field(default_factory=dict)
    lengths: dict[tuple[_Key, int], MemoryPlan | Refusal] = field(default_factory=dict)
    """Plans of sequences of a length, for engines whose cache grows."""


def live_plan(
    memory: PlanMemory,
    reading: ServerReading,
    models: Mapping[str, ModelFile],
    devices: tuple[PlanDevice, ...],
    placement: str = "",
) -> tuple[MemoryPlan | None, str]:
    """The plan of a running server and what to say about it; never an exception.

    `placement` says how it is known where its model lies, "" where that is not known or was typed.
    """
    if reading.hosted is not None and reading.model_key is None:
        return None, _of_several(reading)
    if reading.launch is None:
        return None, "the launch options of this server are unknown, so its memory cannot be computed"
    model = models.get(reading.model_key) if reading.model_key is not None else None
    if model is None or reading.model_key is None:
        if engine_rules(reading.launch.engine) is None:
            return None, f"kvtop has no memory rules for {reading.launch.engine}"
        return None, "the model file could not be read, so nothing can be computed (see Sources)"
    launch, measured = running_launch(reading)
    devices = devices_for(launch, devices)
    draft_key = reading.draft_key
    key = (reading.model_key, draft_key, launch, measured, devices)
    if key not in memory.plans:
        if len(memory.plans) >= PLANS_KEPT:
            memory.plans.clear()
        draft = models.get(draft_key) if draft_key is not None else None
        memory.plans[key] = _compute(memory, reading.model_key, (model, draft), (launch, measured), devices)
    plan, note, assumption = memory.plans[key]
    return plan, "; ".join(part for part in (note, placement or assumption) if part)


def _of_several(reading: ServerReading) -> str:
    """Why a server of several models has no plan of its own."""
    if any(rank.role == "runner" for rank in reading.ranks):
        return "its models run in older runners, which report only their total"
    if reading.is_proxy:
        return "it holds no model itself: each runs in a server of its own"
    return "it may hold several models and does not report the memory of each"


def running_launch(reading: ServerReading) -> tuple[LaunchOptions, Measured]:
    """What a running server's plan is made from: its options, and what it found out. `reading.launch` must be known.

    What the rules of a version complain of does not count: the server runs.
    """
    launch = reading.launch
    if launch is None:
        raise ValueError(f"{reading.id}: the launch options are unknown")
    rules = engine_rules(launch.engine)
    accepted = replace(launch, errors=(), engine_version=reading.version or launch.engine_version)
    return accepted, NOTHING_MEASURED if rules is None else rules.measured(accepted, reading)


def devices_for(launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> tuple[PlanDevice, ...]:
    """The devices to plan for, ranks that kvtop cannot see included."""
    rules = engine_rules(launch.engine)
    return devices if rules is None else rules.devices_for(launch, devices)


def _compute(
    memory: PlanMemory,
    key: str,
    files: tuple[ModelFile, ModelFile | None],
    server: tuple[LaunchOptions, Measured],
    devices: tuple[PlanDevice, ...],
) -> tuple[MemoryPlan | None, str, str]:
    """The plan, how it was made or why there is none, and what is assumed of its placement."""
    (model, draft), (launch, measured) = files, server
    rules = engine_rules(launch.engine)
    if rules is None:
        return None, f"kvtop has no memory rules for {launch.engine}", ""
    try:
        second = prepare(draft) if isinstance(draft, GgufHeader) else None
        answer = plan_running(launch, prepared(memory, key, model), devices, second, measured)
    except NoExactRuleError as error:
        return None, str(error), ""
    if isinstance(answer, Refusal):
        # It runs: whatever these rules make of its options, its own version did not refuse them.
        return None, f"its options have no plan under the rules of {_ruled(launch)}: {answer.message}", ""
    assumption = rules.assumption(launch, devices)
    chosen = version_range(launch)
    how = f"{'computed for' if _is_computed(answer) else 'estimated by the rules of'} {answer.rules_version}"
    if chosen is not None and not chosen.is_checked:
        how = f"estimated: {chosen.reason}"
    return answer, how, assumption


def _is_computed(plan: MemoryPlan) -> bool:
    """Whether weights and caches are exact on every device, where they are known."""
    bases = {part.memory[segment].basis for part in plan.devices for segment in (Segment.WEIGHTS, *CACHES)}
    return Basis.ESTIMATED not in bases


def _ruled(launch: LaunchOptions) -> str:
    chosen = version_range(launch)
    return launch.engine if chosen is None else f"{display_name(launch.engine)} {chosen.range.last}"


def prepared(memory: PlanMemory, key: str, model: ModelFile) -> PlannableModel:
    """The model as its engine's rules plan it, read once. Raises NoExactRuleError."""
    if isinstance(model, Checkpoint):
        return model
    known = memory.prepared.get(key)
    if known is None or known[0] is not model:
        known = (model, prepare(model))
        memory.prepared[key] = known
    return known[1]
