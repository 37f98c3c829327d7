"""`--fit` makes the context smaller before it moves anything (`common_params_fit_impl`, step 2, b11434)."""

from collections.abc import Callable
from dataclasses import dataclass

from kvtop.planning.llamacpp.fit.replay.integers import UINT32_MAX, as_uint32, divided
from kvtop.planning.llamacpp.fit.replay.trial import FitModel, FitRequest, Parameters, TrialMemory

_ALIGNMENT_TOKENS = 256


@dataclass(frozen=True, slots=True)
class ContextStep:
    """The context to go on with. `is_final`: the engine trusts its interpolation and measures no more."""

    n_ctx: int
    is_final: bool


def trained_context(model: FitModel, streams: int) -> int:
    """The trained context of every stream."""
    return min(model.n_ctx_train * streams, UINT32_MAX)


def smaller_context(
    request: FitRequest, parameters: Parameters, initial: TrialMemory, measure: Callable[[Parameters], TrialMemory]
) -> ContextStep:
    """The context after the step; `parameters.n_ctx` is the one that `initial` was measured at.

    Raises DividedByZeroError where the engine divides by its number of layers on GPUs, and that is 0.
    """
    devices = len(request.devices)
    free, used = _sums(request, initial)
    margins = sum(request.margins_bytes)
    asked = parameters.n_ctx
    most = trained_context(request.model, request.streams)
    least = min(request.least_ctx * request.streams, UINT32_MAX)
    if free - used - margins >= 0 or request.parameters.n_ctx != 0 or most <= least:
        return ContextStep(asked, is_final=False)
    target = free - margins
    if devices > 1:
        layers = min(as_uint32(parameters.gpu_layers), request.model.n_layer)
        a_layer = divided(sum(initial.model_bytes), layers)
        target -= divided((devices + 1) * a_layer, 2 if request.model.n_expert == 0 else 6)
    _, least_used = _sums(request, measure(parameters.with_context(least)))
    if target <= least_used:
        return ContextStep(least, is_final=False)
    found = as_uint32(least + divided((most - least) * (target - least_used), used - least_used))
    found = max(found - found % (_ALIGNMENT_TOKENS * request.streams), least)
    return ContextStep(found, is_final=devices <= 1)


def _sums(request: FitRequest, measured: TrialMemory) -> tuple[int, int]:
    """Bytes free and used over all devices; without devices, all of the host's memory and what is used of it."""
    if request.devices:
        return sum(measured.free_bytes), sum(measured.used_bytes)
    return request.host_total_bytes or 0, measured.host_used_bytes
