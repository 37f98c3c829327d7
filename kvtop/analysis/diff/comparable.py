"""What of a Frame, or of a plan, is compared with another."""

from dataclasses import replace

from kvtop.analysis.lint.rules import RULES
from kvtop.domain.answers.comparison import ComparedServer, DeviceHolding, HostState
from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan


def host_state(name: str, frame: Frame) -> HostState:
    """The comparable part of a Frame."""
    free = tuple((view.device.id, view.device.memory.free_bytes) for view in frame.devices)
    return HostState(name, frame.host, tuple(map(server_state, frame.servers)), free, frame.taken_at)


PASSING = frozenset(rule.code for rule in RULES if rule.changes)
"""Rules about the moment: how full, how busy."""


def lasting(state: HostState) -> HostState:
    """A side that was read from a file, without findings about the moment."""
    servers = (
        replace(server, findings=tuple(it for it in server.findings if it[0] not in PASSING))
        for server in state.servers
    )
    return replace(state, servers=tuple(servers))


def server_state(view: ServerView) -> ComparedServer:
    """The comparable part of one server."""
    reading, cache = view.reading, view.kv_cache
    return ComparedServer(
        id=reading.id,
        engine=reading.engine,
        version=reading.version,
        model=reading.model.name or reading.model.path,
        options=None if reading.launch is None else options_of(reading.launch),
        type_k=cache.type_k,
        type_v=cache.type_v,
        capacity_tokens=cache.capacity_tokens,
        bytes_per_token=cache.bytes_per_token,
        slots=reading.slot_count,
        slot_context_tokens=reading.slot_context_tokens,
        devices=tuple(DeviceHolding(it.device_id, it.driver, it.memory) for it in view.splits),
        findings=tuple((it.code, it.message) for it in view.findings if it.code not in PASSING),
        unasked_rules=tuple(it.code for it in view.not_evaluated),
    )


def options_of(launch: LaunchOptions) -> tuple[tuple[str, str], ...]:
    """Names and values, without the place where each was learnt."""
    return tuple((option.name, option.value) for option in launch.options)


def planned_state(name: str, launch: LaunchOptions, plan: MemoryPlan) -> ComparedServer:
    """A server that does not run yet."""
    return ComparedServer(
        id=name,
        engine=plan.engine,
        version=plan.rules_version,
        model=plan.model,
        options=options_of(launch),
        type_k=plan.type_k,
        type_v=plan.type_v,
        capacity_tokens=capacity_tokens(plan),
        bytes_per_token=plan.bytes_per_token,
        slots=plan.context.n_seq_max if plan.context is not None else None,
        slot_context_tokens=plan.context.n_ctx_seq if plan.context is not None else None,
        devices=tuple(
            DeviceHolding(part.name, part.memory.total, part.memory.with_output_in_compute()) for part in plan.devices
        ),
        findings=(),
    )


def capacity_tokens(plan: MemoryPlan) -> int | None:
    """Tokens that the planned KV cache can hold, in the engine's own count; None where nothing limits or says it."""
    if plan.context is not None:
        return plan.context.n_ctx
    return plan.vllm.kv_cache_tokens if plan.vllm is not None else None
