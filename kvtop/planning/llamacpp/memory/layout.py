"""Where a model and its caches lie, apart from how long the context is: remembered between plans of one model."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.plan import PlanDevice, Refusal
from kvtop.planning.llamacpp.memory.buffers import HOST_BUFFER, BufferRule, device_buffer
from kvtop.planning.llamacpp.memory.kv_cache import CacheGroup, cache_groups
from kvtop.planning.llamacpp.memory.placement import HOST, Placement, override_rules, place
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.memory.recurrent import RecurrentGroup, recurrent_groups
from kvtop.planning.llamacpp.memory.weights import Loading, overridden_tensors, weights_by_device
from kvtop.planning.llamacpp.options.settings import LlamaSettings


@dataclass(frozen=True, slots=True, eq=False)
class ModelLayout:
    """Placement, weights and cache groups of one model. Dictionaries are by device name, "host" included."""

    placement: Placement
    overridden: Mapping[str, str]
    """Tensors that `-ot` rules name, and their device."""
    repacks: bool
    """Whether the CPU keeps matrices in its own layout although there are accelerators, which then leave them be."""
    buffers: Mapping[str, BufferRule]
    weights_bytes: Mapping[str, int]
    caches: tuple[CacheGroup, ...]
    transposed_caches: tuple[CacheGroup, ...]
    """The same without flash attention, where V is stored transposed."""
    prediction_caches: tuple[CacheGroup, ...]
    """Caches of the second context that draft-mtp opens on the same model."""
    recurrent: tuple[RecurrentGroup, ...]
    compute_api: str = ""
    """Of the accelerators that take part; "" without any."""


def layout_of(
    prepared: PreparedModel, settings: LlamaSettings, devices: tuple[PlanDevice, ...], gpu_layers: int | None
) -> ModelLayout | Refusal:
    """The layout for these options; context lengths and cache types play no part in it."""
    predicts = "draft-mtp" in settings.speculative_types and prepared.hparams.n_layer_nextn > 0
    key = (
        "layout",
        devices,
        gpu_layers,
        predicts,
        settings.split_mode,
        settings.tensor_split,
        settings.main_gpu,
        settings.devices,
        settings.kv_offload,
        settings.repack,
        settings.no_host,
        settings.tensor_overrides,
        settings.cpu_moe,
        settings.cpu_moe_layers,
        settings.cpu_ffn_layers,
    )
    return prepared.remember(key, lambda: _layout(prepared, settings, devices, gpu_layers, predicts))


def _layout(
    prepared: PreparedModel,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    gpu_layers: int | None,
    predicts: bool,
) -> ModelLayout | Refusal:
    hparams = prepared.hparams
    placement = place(hparams.n_layer_all, settings, devices, gpu_layers)
    if isinstance(placement, Refusal):
        return placement
    buffers = {device.name: device_buffer(device) for device in devices} | {HOST: HOST_BUFFER}
    overridden = overridden_tensors(prepared.weights, hparams, override_rules(settings), devices)
    if isinstance(overridden, Refusal):
        return overridden
    loading = Loading(placement, buffers, overridden, predicts, settings.repack)
    return ModelLayout(
        placement=placement,
        overridden=overridden,
        repacks=settings.no_host and settings.repack,
        buffers=buffers,
        weights_bytes=weights_by_device(prepared.weights, hparams, loading),
        caches=cache_groups(hparams, placement, v_transposed=False, prediction=False),
        transposed_caches=cache_groups(hparams, placement, v_transposed=True, prediction=False),
        prediction_caches=cache_groups(hparams, placement, v_transposed=False, prediction=True) if predicts else (),
        recurrent=recurrent_groups(hparams, placement),
        compute_api=next((it.compute_api for it in devices if it.name in placement.devices), ""),
    )
