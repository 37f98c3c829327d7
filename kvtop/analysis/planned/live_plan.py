"""The plan behind a running server: its own options and model, corrected by what it says of itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvtop.analysis.planned.live_settings import live_launch
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader, ModelFile
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.guards import RANKS_PLANNED
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.parse import settings_of
from kvtop.planning.registry import PlannableModel, plan_launch

PLANS_KEPT = 256
"""Free memory is part of what a plan depends on, so a long session would collect them for ever."""

_LOCAL = re.compile(r"[-+ ]")
"""Where a version ends and what a builder adds begins: "b11434-5ebf41ce", "0.32.0+cpu"."""

_RULED = frozenset({"llama.cpp", "vllm", "mlx"})
"""Engines that the planner knows (`plan_launch`)."""

MLX_STEP_TOKENS = 256
"""The smallest cache an MLX sequence has: a running server is planned with one step, and says nothing of the rest."""

_Key = tuple[str, str | None, LaunchOptions, tuple[PlanDevice, ...]]


@dataclass(slots=True)
class PlanMemory:
    """Plans that have not changed. A plan is a pure function of its key, so remembering changes no result."""

    prepared: dict[str, tuple[GgufHeader, PreparedModel]] = field(default_factory=dict)
    plans: dict[_Key, tuple[MemoryPlan | None, str]] = field(default_factory=dict)


def live_plan(
    memory: PlanMemory,
    reading: ServerReading,
    models: Mapping[str, ModelFile],
    devices: tuple[PlanDevice, ...],
) -> tuple[MemoryPlan | None, str]:
    """The plan of a running server and what to say about it; never an exception."""
    if reading.hosted is not None and reading.model_key is None:
        return None, _of_several(reading)
    if reading.launch is None:
        return None, "the launch options of this server are unknown, so its memory cannot be computed"
    model = models.get(reading.model_key) if reading.model_key is not None else None
    if model is None or reading.model_key is None:
        if reading.launch.engine not in _RULED:
            return None, f"kvtop has no memory rules for {reading.launch.engine}"
        return None, "the model file could not be read, so nothing can be computed (see Sources)"
    launch = effective_launch(reading)
    devices = for_all_ranks(launch, devices)
    draft_key = reading.draft_key
    key = (reading.model_key, draft_key, launch, devices)
    if key not in memory.plans:
        if len(memory.plans) >= PLANS_KEPT:
            memory.plans.clear()
        draft = models.get(draft_key) if draft_key is not None else None
        memory.plans[key] = _compute(memory, reading.model_key, model, draft, launch, devices)
    plan, note = memory.plans[key]
    return plan, note if plan is None else note + _other_version(plan, reading.version)


def _other_version(plan: MemoryPlan, running: str | None) -> str:
    """What a plan owes where the server is of another version than the rules. A local build of it ("+cu129") is not."""
    if running is None or _LOCAL.split(running)[0] in plan.rules_version.split():
        return ""
    return f"; the server is {running}, for which these rules were not checked"


def _of_several(reading: ServerReading) -> str:
    """Why a server of several models has no plan of its own."""
    if any(rank.role == "runner" for rank in reading.ranks):
        return "its models run in runners of an older kind, which tell nothing but their total"
    if reading.engine in {"ollama", "llama-swap", "llama.cpp"}:  # a llama.cpp of several models is a router
        return "it holds no model itself: each runs in a server of its own"
    return "it may hold several models, and does not tell what each of them takes"


def effective_launch(reading: ServerReading) -> LaunchOptions:
    """What a running server's plan is made from. `reading.launch` must be known."""
    return _with_report(live_launch(reading), reading)


def _with_report(launch: LaunchOptions, reading: ServerReading) -> LaunchOptions:
    """vLLM measures its pool when it starts: the blocks it reports are what the plan must hold to."""
    if launch.engine != "vllm" or not reading.pools:
        return launch
    said = {
        "num-gpu-blocks-override": reading.pools[0].block_count,
        "max-model-len": reading.sequence_limit_tokens,
    }
    added = tuple(
        LaunchOption(name, str(value), Origin.ENDPOINT, "/metrics" if name != "max-model-len" else "/v1/models")
        for name, value in said.items()
        if value is not None and (name == "num-gpu-blocks-override" or launch.get(name) is None)
    )
    names = {option.name for option in added}
    return replace(launch, options=(*(it for it in launch.options if it.name not in names), *added))


def for_all_ranks(launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> tuple[PlanDevice, ...]:
    """Ranks on other machines, or hidden from kvtop, are planned on cards like the last one that is seen."""
    if launch.engine != "vllm" or not devices:
        return devices
    ranks = 1
    for name in ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size"):
        value = launch.value(name)
        ranks *= int(value) if value is not None and value.isdigit() else 1
    missing = range(len(devices), min(ranks, RANKS_PLANNED))
    return (*devices, *(replace(devices[-1], name=f"gpu{index}") for index in missing))


def _compute(
    memory: PlanMemory,
    key: str,
    model: ModelFile,
    draft: ModelFile | None,
    launch: LaunchOptions,
    devices: tuple[PlanDevice, ...],
) -> tuple[MemoryPlan | None, str]:
    try:
        if launch.engine == "vllm" and not devices and isinstance(model, Checkpoint):
            from kvtop.planning.vllm.on_host import on_host  # noqa: PLC0415  one engine's rules at a time

            answer: MemoryPlan | Refusal = on_host(launch, model)
        else:
            second = prepare(draft) if isinstance(draft, GgufHeader) else None
            answer = plan_launch(launch, prepared(memory, key, model), devices, draft=second, at_tokens=MLX_STEP_TOKENS)
    except NoExactRuleError as error:
        return None, str(error)
    if isinstance(answer, Refusal):
        return None, f"the engine would refuse these options: {answer.message}"
    return answer, f"computed for {answer.rules_version}{_assumed(launch, devices)}"


def prepared(memory: PlanMemory, key: str, model: ModelFile) -> PlannableModel:
    if isinstance(model, Checkpoint):
        return model
    known = memory.prepared.get(key)
    if known is None or known[0] is not model:
        known = (model, prepare(model))
        memory.prepared[key] = known
    return known[1]


def _assumed(launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> str:
    if launch.engine != "llama.cpp" or not devices:
        return ""
    settings = settings_of(launch)
    auto = not isinstance(settings, Refusal) and settings.gpu_layers is None
    return "; GPU layers are taken as all of them (auto)" if auto else ""
