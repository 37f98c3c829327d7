"""One tick: a Sample and what came before it make a Frame. No I/O, no clock: the time is the Sample's."""

from dataclasses import dataclass, field

from kvtop.analysis.attribution import cache_use, driver_bytes, split_on
from kvtop.analysis.live_settings import live_settings
from kvtop.analysis.rates import generated_per_second, prompt_per_second
from kvtop.domain.device import Device
from kvtop.domain.figure import UNKNOWN
from kvtop.domain.frame import DeviceView, Frame, KvCacheView, ServerView, Split
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal, UnknownArchitectureError
from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading
from kvtop.planning.llamacpp.planner import plan as plan_llamacpp
from kvtop.planning.llamacpp.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.settings import LlamaSettings

HOST = "host"

PLANS_KEPT = 256
"""Free memory is part of what a plan depends on, so a long session would collect them for ever."""


@dataclass(slots=True)
class History:
    """What the next tick needs of the last one: the previous readings, and plans that have not changed.

    Plans are a pure function of model, settings and devices, so remembering them changes no result.
    """

    taken_at: float | None = None
    readings: dict[str, ServerReading] = field(default_factory=dict)
    prepared: dict[str, tuple[GgufHeader, PreparedModel]] = field(default_factory=dict)
    plans: dict[tuple[str, LlamaSettings, tuple[PlanDevice, ...]], tuple[MemoryPlan | None, str]] = field(
        default_factory=dict
    )


def analyse(history: History, sample: Sample, version: str) -> Frame:
    """The Frame of this Sample. `history` is brought up to date for the next tick."""
    processes = {process.pid: process for process in sample.processes}
    servers = tuple(_server_view(history, reading, sample, processes) for reading in sample.servers)
    devices = tuple(_device_view(device, servers, sample.taken_at) for device in sample.devices)
    history.taken_at = sample.taken_at
    history.readings = {reading.id: reading for reading in sample.servers}
    return Frame(sample.taken_at, sample.host, version, devices, servers, sample.failures, sample.pending)


def _server_view(history: History, reading: ServerReading, sample: Sample, processes: dict[int, Process]) -> ServerView:
    pids = frozenset(reading.pids)
    totals = [(device, driver_bytes(device, pids, processes)) for device in sample.devices]
    present = [(device, driver) for device, driver in totals if driver is not None]
    accelerators = [device for device, _ in present if device.backend != HOST]
    plan_devices = tuple(_plan_device(index, device, pids) for index, device in enumerate(accelerators))
    plan, note = _plan(history, reading, sample, plan_devices)
    use = cache_use(plan, reading.slots) if plan is not None else None
    names = {device.id: f"gpu{index}" for index, device in enumerate(accelerators)}
    splits: list[Split] = []
    for device, driver in present:
        part = plan.device(names.get(device.id, HOST)) if plan is not None else None
        splits.append(split_on(device.id, device.backend, driver, plan=plan, part=part, use=use))
    if plan is not None and not present:
        splits.extend(_computed_only(plan))
    prompt, generated = _rates(history, reading, sample.taken_at)
    return ServerView(
        reading=reading,
        splits=tuple(splits),
        kv_cache=_kv_cache(reading, plan),
        plan=plan,
        plan_note=note,
        prompt_tokens_per_second=prompt,
        generated_tokens_per_second=generated,
    )


def _computed_only(plan: MemoryPlan) -> list[Split]:
    """A server that nobody measures (remote, or its process is hidden): the plan alone, no total to add up to."""
    return [
        split_on(f"{part.name} (not measured)", "", UNKNOWN, plan=plan, part=part, use=None) for part in plan.devices
    ]


def _plan_device(index: int, device: Device, pids: frozenset[int]) -> PlanDevice:
    """A device as the server saw it when it started: what is free now, and what it holds itself."""
    own_bytes = sum(row.used_bytes or 0 for row in device.processes or () if row.pid in pids)
    free_bytes = device.memory.free_bytes
    return PlanDevice(
        name=f"gpu{index}",
        total_bytes=device.memory.total_bytes,
        free_bytes=None if free_bytes is None else _rounded(free_bytes + own_bytes),
        compute_capability=device.compute_capability,
        backend="cuda" if device.backend == "nvml" else "unknown",
        product=device.name,
    )


def _rounded(size_bytes: int) -> int:
    """To 64 MiB: other processes breathe, and the default split over devices must not flicker with them."""
    step = 64 * 1024 * 1024
    return size_bytes // step * step


def _plan(
    history: History, reading: ServerReading, sample: Sample, devices: tuple[PlanDevice, ...]
) -> tuple[MemoryPlan | None, str]:
    """The plan behind a live server and what to say about it; never an exception."""
    if reading.engine != "llama.cpp":
        return None, f"kvtop has no live rules for {reading.engine} yet"
    header = sample.models.get(reading.model_key) if reading.model_key is not None else None
    settings = live_settings(reading)
    if settings is None:
        return None, "the launch options of this server are unknown, so its memory cannot be computed"
    if isinstance(settings, Refusal):
        return None, f"the engine would refuse these options: {settings.message}"
    if not isinstance(header, GgufHeader) or reading.model_key is None:
        return None, "the model file could not be read, so nothing can be computed (see Sources)"
    key = (reading.model_key, settings, devices)
    if key not in history.plans:
        if len(history.plans) >= PLANS_KEPT:
            history.plans.clear()
        history.plans[key] = _compute_plan(history, reading.model_key, header, settings, devices)
    return history.plans[key]


def _compute_plan(
    history: History, key: str, header: GgufHeader, settings: LlamaSettings, devices: tuple[PlanDevice, ...]
) -> tuple[MemoryPlan | None, str]:
    if settings.draft is not None:
        return None, "a draft model is loaded too; its file is not read for live servers yet"
    try:
        known = history.prepared.get(key)
        if known is None or known[0] is not header:
            known = (header, prepare(header))
            history.prepared[key] = known
        answer = plan_llamacpp(known[1], settings, devices)
    except UnknownArchitectureError as error:
        return None, str(error)
    if isinstance(answer, Refusal):
        return None, f"the engine would refuse these options: {answer.message}"
    assumed = "; GPU layers are taken as all of them (auto)" if devices and settings.gpu_layers is None else ""
    return answer, f"computed for {answer.rules_version}{assumed}"


def _kv_cache(reading: ServerReading, plan: MemoryPlan | None) -> KvCacheView:
    type_k, type_v, source = _types(reading)
    held = [slot.used_tokens for slot in reading.slots or ()]
    known = [tokens for tokens in held if tokens is not None]
    used_tokens = sum(known) if reading.slots is not None and len(known) == len(held) else None
    capacity_tokens = plan.context.n_ctx if plan is not None and plan.context is not None else None
    is_unified = plan is not None and plan.context is not None and plan.context.kv_unified
    return KvCacheView(
        type_k=type_k,
        type_v=type_v,
        types_source=source,
        capacity_tokens=capacity_tokens,
        used_tokens=used_tokens,
        used_ratio=min(1.0, used_tokens / capacity_tokens) if used_tokens is not None and capacity_tokens else None,
        used_is_upper_bound=is_unified and len([tokens for tokens in known if tokens]) > 1,
        bytes_per_token=plan.bytes_per_token if plan is not None else None,
    )


def _types(reading: ServerReading) -> tuple[str | None, str | None, str]:
    """K and V types and who says so: the endpoint never does, so without a command line they are unknown."""
    if reading.launch is None or reading.engine != "llama.cpp":
        return None, None, "not known from outside"
    type_k, type_v = reading.launch.get("cache-type-k"), reading.launch.get("cache-type-v")
    sources = {f"{option.origin} {option.detail}".strip() for option in (type_k, type_v) if option is not None}
    source = ", ".join(sorted(sources)) or "default of llama.cpp b11434"
    return (type_k.value if type_k else "f16"), (type_v.value if type_v else "f16"), source


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
