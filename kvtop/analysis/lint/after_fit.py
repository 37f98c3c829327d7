"""What llama.cpp's `--fit` makes of a command before it starts, for the rules that look at room."""

from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.plan import NoExactRuleError, Refusal
from kvtop.planning.llamacpp.fit.outcome import FitSurroundings, Loaded, loaded


def after_fit(target: LintTarget) -> Loaded | Refusal | None:
    """What the server loads, or the engine's refusal; None where that cannot be computed.

    Worked out once for a command on its devices: several rules ask.
    """
    model, settings, launch = target.prepared, target.settings, target.effective or target.launch
    if model is None or settings is None or launch is None or (settings.draft is not None and target.draft is None):
        return None
    host_total_bytes = target.host_total_bytes if target.are_devices_known else None
    draft = target.draft
    key = ("after fit", launch.options, target.devices, host_total_bytes, None if draft is None else draft.name)
    try:
        return model.remember(
            key, lambda: loaded(model, launch, settings, FitSurroundings(target.devices, host_total_bytes), draft)
        )
    except NoExactRuleError:
        return None
