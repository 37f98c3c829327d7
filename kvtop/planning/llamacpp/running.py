"""What a running llama-server says of itself that its options leave open, and what a plan assumes besides."""

from dataclasses import replace

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.llamacpp.options.parse import settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured

HOST = "host"
AUTO_SLOTS = 4
"""Slots of a server started without `-np` (tools/server/server.cpp, b11434)."""


def measured(launch: LaunchOptions, reading: ServerReading) -> Measured:
    """The context that the server chose.

    `--fit` changes the context only when `-c` was not given (common/fit.cpp), so a given `-c` stands and otherwise the
    endpoint's context per slot does. `/props` caps it at the trained context while memory is not capped, which is why
    it never overrides a given `-c`.
    """
    if reading.slot_context_tokens is None or launch.value("ctx-size") not in {None, "0"}:
        return NOTHING_MEASURED
    settings = settings_of(launch)
    if isinstance(settings, Refusal) or settings.ctx_tokens or settings.kv_unified_per_slot_tokens:
        return NOTHING_MEASURED
    is_unified = settings.parallel is None if settings.kv_unified is None else settings.kv_unified
    streams = 1 if is_unified else settings.parallel or AUTO_SLOTS
    return Measured(context_cells=reading.slot_context_tokens * streams)


def as_measured(settings: LlamaSettings, found: Measured) -> LlamaSettings:
    """The settings of a server whose fit is done, unless they state a context themselves."""
    if found.context_cells is None or settings.ctx_tokens:
        return settings
    return replace(settings, ctx_tokens=found.context_cells, fit=False)


def assumption(launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> str:
    """What a running server's plan assumes about its placement, or ""."""
    if not devices:
        return ""
    settings = settings_of(launch)
    auto = not isinstance(settings, Refusal) and settings.gpu_layers is None
    return "assuming all layers are offloaded (-ngl auto)" if auto else ""


def assumed_options(reading: ServerReading, plan: MemoryPlan) -> tuple[LaunchOption, ...]:
    """What nobody said and the plan needs: the layers on cards, the context, the slots."""
    launch = reading.launch
    if launch is None:
        return ()
    found = []
    on_cards = any(part.name != HOST for part in plan.devices)
    if on_cards and launch.value("gpu-layers") in {None, "auto", "-1"}:
        reason = "auto: all that fit, and the server says nothing else"
        found.append(LaunchOption("gpu-layers", "all", Origin.ASSUMED, reason))
    if launch.get("ctx-size") is None and plan.context is not None:
        said = reading.slot_context_tokens is not None
        origin, detail = (Origin.ENDPOINT, "/props") if said else (Origin.ASSUMED, "the model's own length")
        found.append(LaunchOption("ctx-size", str(plan.context.n_ctx), origin, detail))
    if launch.get("parallel") is None and plan.context is not None:
        found.append(LaunchOption("parallel", str(plan.context.n_seq_max), Origin.DEFAULT, plan.rules_version))
    return tuple(found)
