"""From a llama-server's settings and the free memory of its devices to what `--fit` makes of them."""

from kvtop.domain.plan import PlanDevice, Refusal
from kvtop.planning.llamacpp.context import sequences_apart
from kvtop.planning.llamacpp.fit.measuring import End, PlannedMemory, given_parameters
from kvtop.planning.llamacpp.fit.replay.answer import FitAnswer
from kvtop.planning.llamacpp.fit.replay.run import replay
from kvtop.planning.llamacpp.fit.replay.trial import FitModel, FitRequest
from kvtop.planning.llamacpp.memory.placement import engine_devices, participating
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.options.settings import LlamaSettings

DEFAULT_MARGIN_BYTES = 1024 * 1024 * 1024


def fit(
    prepared: PreparedModel,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    draft: PreparedModel | None = None,
    *,
    host_total_bytes: int | None = None,
    end: End = End.VALUE,
) -> FitAnswer | Refusal:
    """The answer of `--fit`. `devices` are all accelerators, with the free memory that the process sees in them.

    `host_total_bytes` counts only where the model uses no accelerator. `end` is the end of the estimates to go by.
    Returns a Refusal for devices that the engine would not know; raises as `planner.plan`.
    """
    taking = participating(settings, devices)
    if isinstance(taking, Refusal):
        return taking
    names = {ours: theirs for theirs, ours in engine_devices(devices).items()}
    hparams = prepared.hparams
    # Prediction blocks count where they are loaded, although the loader always counts them.
    predicts = "draft-mtp" in settings.speculative_types
    request = FitRequest(
        model=FitModel(
            hparams.n_layer + (hparams.n_layer_nextn if predicts else 0), hparams.n_ctx_train, hparams.n_expert
        ),
        devices=tuple(names[device.name] for device in taking),
        margins_bytes=margins(settings.fit_target_bytes, max(1, len(taking))),
        parameters=given_parameters(settings),
        least_ctx=settings.fit_ctx_tokens,
        streams=sequences_apart(settings),
        split_mode=settings.split_mode,
        host_total_bytes=host_total_bytes,
    )
    taking_names = tuple(device.name for device in taking)
    return replay(request, PlannedMemory(prepared, settings, devices, draft, taking_names, end))


def margins(given_bytes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """One margin a device. A single value holds for all; a short list leaves the default for the rest."""
    if len(given_bytes) == 1:
        return given_bytes * count
    return (*given_bytes, *(DEFAULT_MARGIN_BYTES,) * count)[:count]
