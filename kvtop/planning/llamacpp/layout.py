"""Where a model and its caches lie, apart from how long the context is: remembered between plans of one model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from kvtop.domain.plan import PlanDevice, Refusal
from kvtop.planning.llamacpp.buffers import HOST_BUFFER, BufferRule, device_buffer
from kvtop.planning.llamacpp.flash_attention import has_fused_attention
from kvtop.planning.llamacpp.kv_cache import CacheGroup, cache_groups
from kvtop.planning.llamacpp.placement import HOST, Placement, override_rules, place
from kvtop.planning.llamacpp.prepared import PreparedModel
from kvtop.planning.llamacpp.recurrent import RecurrentGroup, recurrent_groups
from kvtop.planning.llamacpp.settings import LlamaSettings
from kvtop.planning.llamacpp.weights import Loading, weights_by_device


@dataclass(frozen=True, slots=True)
class Layout:
    """Placement, weights and cache groups of one model. Dictionaries are by device name, "host" included."""

    placement: Placement
    buffers: Mapping[str, BufferRule]
    weights_bytes: Mapping[str, int]
    caches: tuple[CacheGroup, ...]
    transposed_caches: tuple[CacheGroup, ...]
    """The same without flash attention, where V is stored transposed."""
    prediction_caches: tuple[CacheGroup, ...]
    """Caches of the second context that draft-mtp opens on the same model."""
    recurrent: tuple[RecurrentGroup, ...]


def layout_of(
    prepared: PreparedModel, settings: LlamaSettings, devices: tuple[PlanDevice, ...], gpu_layers: int | None
) -> Layout | Refusal:
    """The layout for these options; context lengths and cache types play no part in it."""
    predicts = "draft-mtp" in settings.speculative_types and prepared.hparams.n_layer_nextn > 0
    key = replace(
        LlamaSettings(),
        split_mode=settings.split_mode,
        tensor_split=settings.tensor_split,
        main_gpu=settings.main_gpu,
        devices=settings.devices,
        kv_offload=settings.kv_offload,
        repack=settings.repack,
        tensor_overrides=settings.tensor_overrides,
        cpu_moe=settings.cpu_moe,
        cpu_moe_layers=settings.cpu_moe_layers,
        cpu_ffn_layers=settings.cpu_ffn_layers,
    )
    return _layout(prepared, key, devices, gpu_layers, predicts)


@lru_cache(maxsize=64)
def _layout(
    prepared: PreparedModel,
    settings: LlamaSettings,
    devices: tuple[PlanDevice, ...],
    gpu_layers: int | None,
    predicts: bool,
) -> Layout | Refusal:
    hparams = prepared.hparams
    placement = place(hparams.n_layer_all, settings, devices, gpu_layers)
    if isinstance(placement, Refusal):
        return placement
    buffers = {device.name: device_buffer(device) for device in devices} | {HOST: HOST_BUFFER}
    loading = Loading(placement, buffers, override_rules(settings), predicts, settings.repack)
    return Layout(
        placement=placement,
        buffers=buffers,
        weights_bytes=weights_by_device(prepared.weights, hparams, loading),
        caches=cache_groups(hparams, placement, v_transposed=False, prediction=False),
        transposed_caches=cache_groups(hparams, placement, v_transposed=True, prediction=False),
        prediction_caches=cache_groups(hparams, placement, v_transposed=False, prediction=True) if predicts else (),
        recurrent=recurrent_groups(hparams, placement),
    )


@lru_cache(maxsize=256)
def fused_attention_available(
    prepared: PreparedModel, placement: Placement, devices: tuple[PlanDevice, ...], type_k: str, type_v: str
) -> bool:
    """`has_fused_attention`, remembered: it looks at every layer and depends on no length."""
    experts = frozenset(weight.site for weight in prepared.weights.weights if "_exps." in weight.name)
    return has_fused_attention(prepared.hparams, placement, devices, (type_k, type_v), experts)
