"""The control flow of `--fit`, integer for integer (`common_params_fit_impl`, common/fit.cpp, b11434).

What an allocation takes is asked of `measure`; nothing here knows a model. The surprises are the engine's own: on one
card a smaller context is never measured again, a device is filled without looking at the others, and the result may
not fit at all.
"""

from kvtop.planning.llamacpp.fit.replay.answer import FitAnswer, FitRefusedError, FitStatus, Tried
from kvtop.planning.llamacpp.fit.replay.context_step import smaller_context, trained_context
from kvtop.planning.llamacpp.fit.replay.expert_step import fill_experts
from kvtop.planning.llamacpp.fit.replay.filling import LayerFilling
from kvtop.planning.llamacpp.fit.replay.integers import DividedByZeroError
from kvtop.planning.llamacpp.fit.replay.layer_step import fill_layers
from kvtop.planning.llamacpp.fit.replay.shares import ALL_EXPERTS, placed
from kvtop.planning.llamacpp.fit.replay.trial import (
    ALL_LAYERS,
    CPU_BUFFER,
    FitRequest,
    Measure,
    MeasuringError,
    Parameters,
    TrialMemory,
)


def replay(request: FitRequest, measure: Measure) -> FitAnswer:
    """What `--fit` makes of this request. `measure` may raise MeasuringError."""
    run = _Run(request, measure)
    try:
        run.through()
    except FitRefusedError as refusal:
        return run.answer(FitStatus.FAILURE, str(refusal))
    except MeasuringError as error:
        return run.answer(FitStatus.ERROR, str(error))
    except DividedByZeroError:
        return run.answer(FitStatus.DIED, "the engine divides by zero (SIGFPE)")
    return run.answer(FitStatus.SUCCESS)


class _Run:
    """One fit. `parameters` change while it goes on, and stay changed where it gives up."""

    def __init__(self, request: FitRequest, measure: Measure) -> None:
        self._request = request
        self._measure = measure
        self._tried: list[Tried] = []
        self.parameters = request.parameters

    def answer(self, status: FitStatus, message: str = "") -> FitAnswer:
        """What has come of it so far."""
        return FitAnswer(status, self.parameters, message, tuple(self._tried))

    def through(self) -> None:
        """All steps. Raises FitRefusedError, MeasuringError or DividedByZeroError where the engine stops."""
        request = self._request
        if request.split_mode == "tensor":
            raise FitRefusedError("llama_params_fit is not implemented for SPLIT_MODE_TENSOR")
        initial = self._initial()
        if self._is_enough(initial):
            return
        try:
            step = smaller_context(request, self.parameters, initial, self._measure)
        except MeasuringError:
            self.parameters = self.parameters.with_context(request.least_ctx * request.streams)
            raise
        self.parameters = self.parameters.with_context(step.n_ctx)
        if step.is_final:
            return
        self._refuse()
        surplus = self._surplus_without_experts() if request.model.n_expert > 0 else 0
        pairs = zip(initial.free_bytes, request.margins_bytes, strict=True)
        targets = tuple(free - margin for free, margin in pairs)
        filling = LayerFilling(request, self.parameters, targets, self._measure, tried=self._tried)
        filling.start()
        fill_layers(filling)
        if surplus > 0:
            fill_experts(filling)
        self.parameters = placed(self.parameters, filling.shares, request.model.n_layer)

    def _initial(self) -> TrialMemory:
        """The given parameters; an open context is the trained one of every stream."""
        initial = self._measure(self.parameters)
        if self._request.parameters.n_ctx != 0:
            return initial
        self.parameters = self.parameters.with_context(trained_context(self._request.model, self._request.streams))
        return self._measure(self.parameters)

    def _is_enough(self, initial: TrialMemory) -> bool:
        request = self._request
        if not request.devices:
            return (request.host_total_bytes or 0) - initial.host_used_bytes >= request.margins_bytes[0]
        amounts = zip(initial.free_bytes, initial.used_bytes, request.margins_bytes, strict=True)
        return all(free - used >= margin for free, used, margin in amounts)

    def _refuse(self) -> None:
        """What a user set may not be changed. Raises FitRefusedError."""
        request, parameters = self._request, self.parameters
        several = len(request.devices) > 1
        if not request.devices:
            raise FitRefusedError("was unable to fit model into system memory by reducing context")
        if parameters.gpu_layers != ALL_LAYERS:
            raise FitRefusedError(f"n_gpu_layers already set by user to {parameters.gpu_layers}")
        if several and any(parameters.tensor_split[: len(request.devices)]):
            raise FitRefusedError("model_params::tensor_split already set by user")
        if several and request.split_mode == "row":
            raise FitRefusedError("changing weight allocation for LLAMA_SPLIT_MODE_ROW not implemented")
        if parameters.overrides:
            raise FitRefusedError("model_params::tensor_buft_overrides already set by user")

    def _surplus_without_experts(self) -> int:
        """Bytes left over all devices, margins taken off, when every expert is on the host."""
        dense = Parameters(
            self.parameters.n_ctx,
            self.parameters.gpu_layers,
            self.parameters.tensor_split,
            ((ALL_EXPERTS, CPU_BUFFER),),
        )
        measured = self._measure(dense)
        amounts = zip(measured.free_bytes, measured.used_bytes, self._request.margins_bytes, strict=True)
        return sum(free - used - margin for free, used, margin in amounts)
