"""What `--fit` makes of a plan where the room for it is known (`common_params_fit_impl`, common/fit.cpp, b11434)."""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.domain.answers.plan_answer import Fit, room_of
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.context import PINNED_CONTEXT, sequences_apart
from kvtop.planning.llamacpp.derivation import FIT_IS_ON
from kvtop.planning.llamacpp.fit.largest_context import largest_context
from kvtop.planning.llamacpp.model.prepared import PreparedModel
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.text import bytes_text


def with_fit_told(
    plan: MemoryPlan,
    model: PreparedModel,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    rooms_bytes: Mapping[str, int | None],
    draft: PreparedModel | None,
) -> MemoryPlan:
    """The plan, its general note on `--fit` made definite: gone where enough stays free, else with what will change."""
    general = [warning for warning in plan.warnings if warning.startswith(FIT_IS_ON)]
    known = [device.name for device in devices if rooms_bytes.get(device.name) is not None]
    if not general or len(known) < len(devices):
        return plan
    rooms = _less_margins(settings, devices, rooms_bytes)
    fits = {part.name: room_of(part, rooms.get(part.name)).fit for part in plan.devices}
    short = [name for name in known if fits[name] is Fit.TOO_LARGE]
    told = general
    if all(fits[name] is Fit.FITS for name in known):
        told = []
    elif short:
        told = [_told(short, model, settings, devices, rooms, draft)]
    return replace(plan, warnings=(*(it for it in plan.warnings if it not in general), *told))


def _less_margins(
    settings: LlamaSettings, devices: tuple[PlanDevice, ...], rooms_bytes: Mapping[str, int | None]
) -> dict[str, int | None]:
    """What may be filled: everything but the margin of each device; the host has none beside accelerators."""
    margins = settings.fit_target_bytes
    rooms: dict[str, int | None] = {}
    for number, device in enumerate(devices):
        room = rooms_bytes.get(device.name)
        rooms[device.name] = None if room is None else room - margins[min(number, len(margins) - 1)]
    return rooms


def _told(
    short: list[str],
    model: PreparedModel,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    rooms: Mapping[str, int | None],
    draft: PreparedModel | None,
) -> str:
    margin = bytes_text(settings.fit_target_bytes[0])
    why = f"{FIT_IS_ON}, and less than {margin} would stay free on {', '.join(short)}: the engine will"
    placed = settings.gpu_layers is not None or settings.tensor_split or settings.tensor_overrides
    pinned = settings.ctx_tokens > 0 or settings.fit_ctx_tokens >= PINNED_CONTEXT
    streams = sequences_apart(settings)
    least, trained = settings.fit_ctx_tokens * streams, model.hparams.n_ctx_train * streams
    if pinned or trained <= least:
        return f"{why} leave layers, or the experts of a mixture, on the host"
    most = largest_context(model, replace(settings, fit=False), devices, rooms, draft).tokens
    shrunk = f"{why} shrink the context to about {max(most, least)} tokens"
    return shrunk if most >= least or placed else f"{shrunk} and leave layers on the host"
