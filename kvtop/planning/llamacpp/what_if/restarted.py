"""A running llama-server started again: its options as typed, with changes, after `--fit` has done its part."""

from dataclasses import replace

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOptions, Origin
from kvtop.domain.plan import NoExactRuleError, Refusal
from kvtop.planning.gpus.reserve import as_seen
from kvtop.planning.llamacpp.context import context_given
from kvtop.planning.llamacpp.fit.fitted import fit
from kvtop.planning.llamacpp.fit.measuring import given_parameters
from kvtop.planning.llamacpp.fit.pinned import pinned_launch
from kvtop.planning.llamacpp.fit.replay.answer import FitStatus
from kvtop.planning.llamacpp.fit.wording import change_in_words
from kvtop.planning.llamacpp.memory.placement import HOST, engine_devices, participating
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.options.parse import settings_of
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured
from kvtop.planning.protocol.plan_context import PlanContext


def as_started(launch: LaunchOptions) -> LaunchOptions:
    """The options that would be typed again: without what was inferred."""
    kept = tuple(it for it in launch.options if it.origin is not Origin.ASSUMED)
    return replace(launch, options=kept)


def restarted(context: PlanContext, what_if: WhatIf) -> tuple[LaunchOptions, Measured]:
    """The launch that a restart with these changes loads. `detail` of what `--fit` sets says it in words.

    Where the fit does not apply, or the memory that it goes by is not known, the changed launch as it is.
    """
    changed = WhatIf(as_started(what_if.base), what_if.changes).launch
    as_it_runs = what_if.launch, context.measured
    settings = settings_of(changed)
    if isinstance(settings, Refusal) or not settings.fit or not isinstance(context.model, PreparedModel):
        return as_it_runs
    devices = tuple(map(as_seen, context.devices))
    draft = context.draft if isinstance(context.draft, PreparedModel) else None
    try:
        taking = participating(settings, devices)
        if isinstance(taking, Refusal) or not taking or any(device.free_bytes is None for device in taking):
            return as_it_runs
        answer = fit(context.model, settings, devices, draft)
    except NoExactRuleError:
        return as_it_runs
    if isinstance(answer, Refusal) or answer.status in {FitStatus.DIED, FitStatus.ERROR}:
        return as_it_runs
    chosen, asked = answer.parameters, given_parameters(settings)
    layers = context.model.hparams.n_layer + 1
    names = {**engine_devices(devices), "CPU": HOST}
    trained = context.model.hparams.n_ctx_train
    lengths = context_given(settings) or trained, chosen.n_ctx or trained
    words = change_in_words((lengths[0], asked), (lengths[1], chosen), layers, [it.name for it in taking], names)
    launch = pinned_launch(changed, chosen, f"on a restart --fit sets: {words}") if words else changed
    return launch, NOTHING_MEASURED
