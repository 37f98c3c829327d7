"""The plan behind a running server: its own options and model, corrected by what it says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvtop.analysis.live_settings import live_launch
from kvtop.domain.device import Device
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader, ModelFile
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal, UnknownArchitectureError
from kvtop.domain.server import ServerReading
from kvtop.planning.any_engine import PlannableModel, plan_launch
from kvtop.planning.llamacpp.options import settings_of
from kvtop.planning.llamacpp.prepared import PreparedModel, prepare
from kvtop.planning.vllm.on_host import on_host

HOST = "host"
PLANS_KEPT = 256
"""Free memory is part of what a plan depends on, so a long session would collect them for ever."""

MLX_STEP_TOKENS = 256
"""The smallest cache an MLX sequence has: a running server is planned with one step, and says nothing of the rest."""

_Key = tuple[str, str | None, LaunchOptions, tuple[PlanDevice, ...]]


@dataclass(slots=True)
class PlanMemory:
    """Plans that have not changed. A plan is a pure function of its key, so remembering changes no result."""

    prepared: dict[str, tuple[GgufHeader, PreparedModel]] = field(default_factory=dict)
    plans: dict[_Key, tuple[MemoryPlan | None, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placed:
    """The devices a server is on, in the order of its plan: `names[i]` is what the plan calls `devices[i]`."""

    devices: tuple[Device, ...]
    names: tuple[str, ...]
    plan_devices: tuple[PlanDevice, ...]

    def name_of(self, device_id: str) -> str:
        """The plan's name of a device; what is no accelerator of this server is its host part."""
        for device, name in zip(self.devices, self.names, strict=True):
            if device.id == device_id:
                return name
        return HOST


def placed(reading: ServerReading, accelerators: tuple[Device, ...]) -> Placed:
    """Accelerators in the engine's order: by rank where its processes have one, else as the driver lists them."""
    pids = frozenset(reading.pids)
    order = {
        rank.pid: (rank.data_parallel_index or 0, rank.pipeline_parallel_index or 0, rank.tensor_parallel_index or 0)
        for rank in reading.ranks
        if rank.role != "api server"
    }

    def rank_of(device: Device) -> tuple[int, int, int]:
        held = [order[row.pid] for row in device.processes or () if row.pid in order]
        return min(held, default=(0, 0, 0))

    devices = tuple(sorted(accelerators, key=rank_of))
    names = tuple(f"gpu{index}" for index in range(len(devices)))
    return Placed(devices, names, tuple(_plan_device(name, it, pids) for name, it in zip(names, devices, strict=True)))


def _plan_device(name: str, device: Device, pids: frozenset[int]) -> PlanDevice:
    """A device as the server saw it when it started: what is free now, and what it holds itself."""
    own_bytes = sum(row.used_bytes or 0 for row in device.processes or () if row.pid in pids)
    free_bytes = device.memory.free_bytes
    return PlanDevice(
        name=name,
        total_bytes=device.memory.total_bytes,
        free_bytes=None if free_bytes is None else _rounded(free_bytes + own_bytes),
        compute_capability=device.compute_capability,
        backend={"nvml": "cuda", "apple": "metal"}.get(device.backend, "unknown"),
        product=device.name,
    )


def _rounded(size_bytes: int) -> int:
    """To 64 MiB: other processes breathe, and the default split over devices must not flicker with them."""
    step = 64 * 1024 * 1024
    return size_bytes // step * step


def live_plan(
    memory: PlanMemory,
    reading: ServerReading,
    models: Mapping[str, ModelFile],
    devices: tuple[PlanDevice, ...],
) -> tuple[MemoryPlan | None, str]:
    """The plan of a running server and what to say about it; never an exception."""
    if reading.launch is None:
        return None, "the launch options of this server are unknown, so its memory cannot be computed"
    model = models.get(reading.model_key) if reading.model_key is not None else None
    if model is None or reading.model_key is None:
        return None, "the model file could not be read, so nothing can be computed (see Sources)"
    launch = _with_report(live_launch(reading), reading)
    draft_key = reading.draft_key
    key = (reading.model_key, draft_key, launch, devices)
    if key not in memory.plans:
        if len(memory.plans) >= PLANS_KEPT:
            memory.plans.clear()
        draft = models.get(draft_key) if draft_key is not None else None
        memory.plans[key] = _compute(memory, reading.model_key, model, draft, launch, devices)
    return memory.plans[key]


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
            answer: MemoryPlan | Refusal = on_host(launch, model)
        else:
            second = prepare(draft) if isinstance(draft, GgufHeader) else None
            answer = plan_launch(
                launch, _prepared(memory, key, model), devices, draft=second, at_tokens=MLX_STEP_TOKENS
            )
    except UnknownArchitectureError as error:
        return None, str(error)
    if isinstance(answer, Refusal):
        return None, f"the engine would refuse these options: {answer.message}"
    return answer, f"computed for {answer.rules_version}{_assumed(launch, devices)}"


def _prepared(memory: PlanMemory, key: str, model: ModelFile) -> PlannableModel:
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
