"""What a trial of `--fit` takes, by kvtop's own planner: the engine loads the model for it without allocating.

The draft model, or the second context of draft-mtp, is measured with the options that the user gave, whatever is being
tried with the main model, and again whenever the context changes (`add_extra_memory`, common/fit.cpp, b11434).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from kvtop.domain.figure import Figure
from kvtop.domain.plan import PlanDevice, Refusal
from kvtop.planning.llamacpp.context import context_given
from kvtop.planning.llamacpp.fit.replay.trial import MeasuringError, Parameters, TrialMemory
from kvtop.planning.llamacpp.memory.placement import HOST, override_rules
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.memory.weights import repacked_bytes
from kvtop.planning.llamacpp.model_plan import ModelPlan
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import compute_of, plan_model, plan_second

_PAGE_BYTES = 2 * 1024 * 1024
"""What cudaMalloc rounds an allocation to."""


class End(Enum):
    """Which end of an estimate to go by."""

    LOW = "low_bytes"
    VALUE = "value_bytes"
    HIGH = "high_bytes"


@dataclass(slots=True)
class PlannedMemory:
    """Measures trials. `devices` are all accelerators there are, by kvtop's names; `taking` those of the model."""

    prepared: PreparedModel
    settings: LlamaSettings
    devices: tuple[PlanDevice, ...]
    draft: PreparedModel | None
    taking: tuple[str, ...]
    end: End = End.VALUE
    _extra: dict[int, tuple[Mapping[str, int], Mapping[str, int]]] = field(default_factory=dict)

    def __call__(self, parameters: Parameters) -> TrialMemory:
        """The bytes of one trial. Raises MeasuringError where the engine could not load the model."""
        settings = settings_with(self.settings, parameters)
        found = plan_model(self.prepared, settings, self.devices)
        if isinstance(found, Refusal):
            raise MeasuringError(found.message)
        used, weights = self._used(found, settings), dict(found.layout.weights_bytes)
        extra_used, extra_weights = self._extra_bytes(parameters.n_ctx, found)
        for name, size_bytes in extra_used.items():
            used[name] += size_bytes
            weights[name] += extra_weights[name]
        free = {device.name: device.free_bytes or 0 for device in self.devices}
        return TrialMemory(
            used_bytes=tuple(used[name] for name in self.taking),
            model_bytes=tuple(weights[name] for name in self.taking),
            # The state of recurrent layers is allocated even here, and is still there when free memory is read.
            free_bytes=tuple(free[name] - _pages(found.recurrent_bytes[name]) for name in self.taking),
            host_used_bytes=used[HOST] - (0 if self.taking else self._repacked_bytes(settings)),
        )

    def _repacked_bytes(self, settings: LlamaSettings) -> int:
        """The engine counts buffers of the CPU, and these have a type of their own."""
        if not settings.repack:
            return 0
        models = [self.prepared] if self.draft is None else [self.prepared, self.draft]
        return sum(repacked_bytes(model.weights, model.hparams) for model in models)

    def _used(self, found: ModelPlan, settings: LlamaSettings, *, is_second: bool = False) -> dict[str, int]:
        fusions = self.end is End.HIGH
        compute = compute_of(found, settings, is_second=is_second, as_projected=True, with_fusions=fusions)
        nothing = Figure.estimated(0, 0, 0)
        return {
            name: found.layout.weights_bytes[name]
            + found.kv_cache_bytes[name]
            + found.recurrent_bytes[name]
            + (found.output_bytes if name == HOST else 0)
            + getattr(compute.get(name, nothing), self.end.value)
            for name in (*self.taking, HOST)
        }

    def _extra_bytes(self, n_ctx: int, target: ModelPlan) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Everything that the draft takes, and its weights in that."""
        if self.draft is None and "draft-mtp" not in self.settings.speculative_types:
            return {}, {}
        known = self._extra.get(n_ctx)
        if known is None:
            known = self._extra[n_ctx] = self._measured_extra(target)
        return known

    def _measured_extra(self, target: ModelPlan) -> tuple[Mapping[str, int], Mapping[str, int]]:
        settings = settings_with(self.settings, replace(given_parameters(self.settings), n_ctx=target.context.n_ctx))
        base = plan_model(self.prepared, settings, self.devices)
        if isinstance(base, Refusal):
            return {}, {}
        second = plan_second(base, settings, self.devices, self.draft)
        if second is None or isinstance(second, Refusal):
            # Logged as a warning: "fitting without it".
            return {}, {}
        return self._used(second, settings, is_second=True), second.layout.weights_bytes


def given_parameters(settings: LlamaSettings) -> Parameters:
    """What the user set, as `--fit` finds it."""
    gpu_layers = -1 if settings.gpu_layers is None else settings.gpu_layers
    return Parameters(context_given(settings), gpu_layers, settings.tensor_split, override_rules(settings))


def settings_with(settings: LlamaSettings, parameters: Parameters) -> LlamaSettings:
    """The settings that load a model with these parameters and without `--fit`."""
    return replace(
        settings,
        fit=False,
        ctx_tokens=parameters.n_ctx,
        kv_unified_per_slot_tokens=None,
        gpu_layers=None if parameters.gpu_layers == -1 else parameters.gpu_layers,
        tensor_split=parameters.tensor_split,
        tensor_overrides=parameters.overrides,
        cpu_moe=False,
        cpu_moe_layers=0,
        cpu_ffn_layers=0,
    )


def _pages(size_bytes: int) -> int:
    return -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES
