"""The answer of `--fit` for a launch: what it loads with, what that takes, and whether it keeps its own margins."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvtop.domain.answers.engine_fit import EngineFit, FitValues
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import DeviceShare, MemoryPlan, PlanDevice, Refusal
from kvtop.planning.llamacpp.fit.fitted import fit, margins
from kvtop.planning.llamacpp.fit.measuring import End, given_parameters, settings_with
from kvtop.planning.llamacpp.fit.pinned import pinned_launch, pinning_flags
from kvtop.planning.llamacpp.fit.replay.answer import FitAnswer, FitStatus
from kvtop.planning.llamacpp.fit.replay.trial import Parameters
from kvtop.planning.llamacpp.fit.wording import change_in_words
from kvtop.planning.llamacpp.memory.placement import ENGINE, HOST, engine_devices, participating
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan

_OFF = "--fit is off"
DIVIDED_BY_ZERO = "ends by SIGFPE while it fits"
"""How a Refusal begins where the engine ends instead of refusing."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is loaded, and how. `launch` and `settings` plan it without `--fit`. `asked` is the plan of the options as
    they were typed; None where the engine would refuse them."""

    launch: LaunchOptions
    settings: LlamaSettings
    plan: MemoryPlan
    fit: EngineFit
    asked: MemoryPlan | None
    given: FitValues
    """What the user set, in the terms of `fit.values`."""
    layers: int
    """All layers that `-ngl` counts, the output layer among them."""


@dataclass(frozen=True, slots=True)
class FitSurroundings:
    """What a fit depends on beside model and options.

    `devices` with the free memory that the process sees in them before it loads anything. `beside_bytes` is loaded
    beside the models, by device name; of it, the fit itself counts `projector_bytes` alone. `host_total_bytes` counts
    only where the model uses no accelerator.
    """

    devices: tuple[PlanDevice, ...]
    host_total_bytes: int | None = None
    beside_bytes: Mapping[str, int] = field(default_factory=dict)
    projector_bytes: Mapping[str, int] = field(default_factory=dict)


def loaded(
    model: PreparedModel,
    launch: LaunchOptions,
    settings: LlamaSettings,
    around: FitSurroundings,
    draft: PreparedModel | None = None,
    *,
    with_alternatives: bool = False,
) -> Loaded | Refusal:
    """What a llama-server with these options loads. `with_alternatives`: look at the ends of the estimates too.

    Returns a Refusal where the engine would not start, or ends while it fits. Raises as `planner.plan`.
    """
    asked = plan(model, settings, around.devices, draft)
    layers = model.hparams.n_layer + 1
    taking = participating(settings, around.devices)
    if isinstance(taking, Refusal):
        return taking
    reason = _why_not(settings, taking, around)
    if reason is not None:
        if isinstance(asked, Refusal):
            return asked
        given = given_parameters(settings)
        unapplied = _unapplied(reason, asked, given, settings, taking, around)
        return Loaded(launch, settings, asked, unapplied, asked, _values(asked, given), layers)
    if isinstance(asked, Refusal):
        # Nothing that a fit changes makes the engine take back a refusal.
        return asked
    settings = replace(settings, fit_target_bytes=_margins(settings, taking, around))
    answer = fit(model, settings, around.devices, draft, host_total_bytes=around.host_total_bytes)
    if isinstance(answer, Refusal):
        return answer
    if answer.status is FitStatus.DIED:
        return Refusal(ENGINE, _death(settings))
    chosen = answer.parameters
    fitted = settings_with(settings, chosen)
    planned = plan(model, fitted, around.devices, draft)
    if isinstance(planned, Refusal):
        return planned
    values = _values(planned, chosen)
    kept, within = _kept(planned, taking, settings.fit_target_bytes, around)
    found = EngineFit(
        is_applied=answer.status is FitStatus.SUCCESS,
        reason=answer.message or None,
        values=values,
        is_margin_kept=kept,
        is_within_free=within,
        change=_change(model, settings, asked, (planned, chosen), taking, around),
        flags=pinning_flags(chosen if chosen.n_ctx else replace(chosen, n_ctx=values.n_ctx)),
        possible=_others(model, settings, around, draft, answer) if with_alternatives else (),
    )
    before = _values(asked, given_parameters(settings))
    return Loaded(pinned_launch(launch, chosen), fitted, planned, found, asked, before, layers)


def _why_not(settings: LlamaSettings, taking: tuple[PlanDevice, ...], around: FitSurroundings) -> str | None:
    if not settings.fit:
        return _OFF
    unknown = [device.name for device in taking if device.free_bytes is None]
    if unknown:
        return f"the free memory of {', '.join(unknown)} is not known"
    if not taking and around.host_total_bytes is None:
        return "the memory of the host is not known"
    return None


def _death(settings: LlamaSettings) -> str:
    if settings.gpu_layers == 0:
        return (
            f"{DIVIDED_BY_ZERO}: --fit divides by the 0 layers of -ngl 0 when several devices are short "
            "(common/fit.cpp); -fit off or -dev none starts"
        )
    return f"{DIVIDED_BY_ZERO}: --fit divides by zero (common/fit.cpp); -fit off starts"


def _unapplied(
    reason: str,
    asked: MemoryPlan,
    given: Parameters,
    settings: LlamaSettings,
    taking: tuple[PlanDevice, ...],
    around: FitSurroundings,
) -> EngineFit:
    kept: bool | None = None
    within: bool | None = None
    if all(device.free_bytes is not None for device in taking):
        kept, within = _kept(asked, taking, _margins(settings, taking, around), around)
    return EngineFit(False, reason, _values(asked, given), kept, within)


def _values(planned: MemoryPlan, chosen: Parameters) -> FitValues:
    context = planned.context
    split = chosen.tensor_split
    while split and not split[-1]:
        split = split[:-1]
    return FitValues(
        n_ctx=context.n_ctx if context is not None else chosen.n_ctx,
        n_ctx_seq=context.n_ctx_seq if context is not None else chosen.n_ctx,
        n_gpu_layers=chosen.gpu_layers,
        tensor_split=split,
        overrides=chosen.overrides,
    )


def _margins(settings: LlamaSettings, taking: tuple[PlanDevice, ...], around: FitSurroundings) -> tuple[int, ...]:
    """The projector is added by the number of its device among all, although margins go by those of the model.

    (`server_context_impl::load_model`, tools/server/server-context.cpp, b11434.)
    """
    found = list(margins(settings.fit_target_bytes, max(len(taking), len(around.devices), 1)))
    for number, device in enumerate(around.devices):
        found[number] += around.projector_bytes.get(device.name, 0)
    return tuple(found)


def _kept(
    planned: MemoryPlan, taking: tuple[PlanDevice, ...], margins_bytes: tuple[int, ...], around: FitSurroundings
) -> tuple[bool | None, bool | None]:
    """Whether margins are kept and nothing exceeds what is free, by the value of the estimates."""
    if not taking:
        return None, None
    left = []
    for device in taking:
        part = planned.device(device.name)
        used = 0 if part is None else used_bytes(part) + around.beside_bytes.get(device.name, 0)
        left.append((device.free_bytes or 0) - used)
    projected = [around.projector_bytes.get(device.name, 0) for device in taking]
    kept = all(
        amount + projector >= margin
        for amount, projector, margin in zip(left, projected, margins(margins_bytes, len(taking)), strict=True)
    )
    return kept, all(amount >= 0 for amount in left)


def used_bytes(part: DeviceShare) -> int:
    """Everything on one device, compute memory at its likely value."""
    return part.memory.known.value_bytes or 0


def _change(
    model: PreparedModel,
    settings: LlamaSettings,
    asked: MemoryPlan,
    after: tuple[MemoryPlan, Parameters],
    taking: tuple[PlanDevice, ...],
    around: FitSurroundings,
) -> str:
    planned, chosen = after
    given = given_parameters(settings)
    contexts = [0 if it.context is None else it.context.n_ctx for it in (asked, planned)]
    return change_in_words(
        (contexts[0], given),
        (contexts[1], chosen),
        model.hparams.n_layer + 1,
        [device.name for device in taking],
        {**engine_devices(around.devices), "CPU": HOST},
    )


def _others(
    model: PreparedModel,
    settings: LlamaSettings,
    around: FitSurroundings,
    draft: PreparedModel | None,
    likely: FitAnswer,
) -> tuple[FitValues, ...]:
    """What else may come of it, compute memory at the ends of its range. Every outcome once."""
    found: list[FitValues] = []
    seen = {likely.parameters}
    for end in (End.LOW, End.HIGH):
        answer = fit(model, settings, around.devices, draft, host_total_bytes=around.host_total_bytes, end=end)
        if not isinstance(answer, FitAnswer) or answer.parameters in seen:
            continue
        seen.add(answer.parameters)
        planned = plan(model, settings_with(settings, answer.parameters), around.devices, draft)
        if isinstance(planned, MemoryPlan):
            found.append(_values(planned, answer.parameters))
    return tuple(found)
