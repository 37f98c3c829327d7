"""Which device holds which layer (`llama_model_base::load_tensors`, src/llama-model.cpp, b11434)."""

import re
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from kvtop.domain.plan import NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.options.settings import LlamaSettings

HOST = "host"
ENGINE = "llama.cpp"
_MOST_LAYERS = 512
_MOST_SHARES = 3.4e38
"""Single precision holds no larger sum."""
_OTHER_BACKEND = re.compile(
    r"Vulkan|SYCL|RPC|OpenCL|GPUOpenCL|CANN|MTL|Metal|ROCm|HIP|MUSA|WebGPU|HTP|Hexagon|BLAS|ZDNN"
)

_API_NAMES = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "sycl": "SYCL", "metal": "MTL"}
"""What the engine calls the devices of an API, before their number (`GGML_CUDA_NAME` and its like, ggml)."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Device names ("gpu0", "host") for the blocks and the output layer; input embeddings are always on the host."""

    devices: tuple[str, ...]
    """Accelerators that take part, in llama.cpp's order."""
    layers: tuple[str, ...]
    """Device of each of `n_layer_all` blocks: its weights, and its cache unless `kv_on_host`."""
    output: str
    kv_on_host: bool
    pipeline_parallel: bool
    """Several devices, all layers offloaded: the scheduler keeps four copies of inputs."""
    split_mode: str

    def cache_device(self, layer: int) -> str:
        """Where the cache of that block lives."""
        return HOST if self.kv_on_host else self.layers[layer]


def place(
    n_layer_all: int, settings: LlamaSettings, devices: tuple[PlanDevice, ...], gpu_layers: int | None
) -> Placement | Refusal:
    """Device of every block and of the output layer for these options.

    `gpu_layers` is separate from `settings` because a draft model has its own. Raises NoExactRuleError for
    tensor parallelism and for device names that are not in `devices`.
    """
    if settings.split_mode == "tensor":
        raise NoExactRuleError("kvtop has no memory rule for --split-mode tensor")
    taking = participating(settings, devices)
    if isinstance(taking, Refusal):
        return taking
    if settings.split_mode == "row" and taking:
        # ggml-cuda of b11434 offers no split buffers (src/llama-model.cpp `make_gpu_buft_list`).
        index = devices.index(taking[0])
        return Refusal(
            ENGINE, f"error loading model: device {_engine_name(taking[0], index)} does not support split buffers"
        )
    wanted = n_layer_all + 1 if gpu_layers is None or gpu_layers < 0 else gpu_layers
    first_on_gpu = max(n_layer_all + 1 - wanted, 0)
    counted = min(wanted, n_layer_all + 1) if taking else 0
    splits = _split_points(settings.tensor_split, taking)
    where: list[str] = []
    for layer in range(n_layer_all + 1):
        offset = layer - first_on_gpu
        if offset < 0 or offset >= counted:
            where.append(HOST)
        else:
            where.append(taking[bisect_right(splits, _float32(offset / counted))].name)
    overridden = bool(
        settings.tensor_overrides or settings.cpu_moe or settings.cpu_moe_layers or settings.cpu_ffn_layers
    )
    return Placement(
        devices=tuple(device.name for device in taking),
        layers=tuple(where[:-1]),
        output=where[-1],
        kv_on_host=not settings.kv_offload,
        pipeline_parallel=len(taking) > 1
        and wanted > n_layer_all
        and settings.split_mode == "layer"
        and settings.kv_offload
        and not overridden,
        split_mode=settings.split_mode,
    )


def participating(settings: LlamaSettings, devices: tuple[PlanDevice, ...]) -> tuple[PlanDevice, ...] | Refusal:
    """The devices of the model, in the engine's order, after `--device`, `--split-mode none` and `--main-gpu`."""
    chosen = chosen_devices(settings.devices, devices) if settings.devices else devices
    if isinstance(chosen, Refusal):
        return chosen
    if settings.split_mode != "none" or not chosen:
        return chosen
    if settings.main_gpu < 0:
        return ()
    if settings.main_gpu >= len(chosen):
        return Refusal(ENGINE, f"invalid value for main_gpu: {settings.main_gpu} (available devices: {len(chosen)})")
    return (chosen[settings.main_gpu],)


def chosen_devices(names: Sequence[str], devices: tuple[PlanDevice, ...]) -> tuple[PlanDevice, ...] | Refusal:
    """The devices of a `--device` list, by the engine's names or ours; "none" alone is none.

    A Refusal for one that the engine would not know, NoExactRuleError where its build might.
    """
    if tuple(names) == ("none",):
        return ()
    known = {
        name: device for index, device in enumerate(devices) for name in (device.name, _engine_name(device, index))
    }
    missing = [name for name in names if name not in known]
    if missing and is_cuda_build(devices, missing[0]):
        return Refusal(ENGINE, f'error while handling argument "--device": invalid device: {missing[0]}')
    if missing:
        raise NoExactRuleError(f"--device {missing[0]} is none of the devices to plan for")
    return tuple(known[name] for name in names)


def is_cuda_build(devices: tuple[PlanDevice, ...], name: str) -> bool:
    """Whether the engine that runs there has CUDA's names alone, so that `name` cannot be one of another backend."""
    return all(device.compute_api == "cuda" for device in devices) and not _OTHER_BACKEND.match(name)


def engine_devices(devices: tuple[PlanDevice, ...]) -> dict[str, str]:
    """llama.cpp's names of all devices, whichever take part -> ours."""
    return {_engine_name(device, index): device.name for index, device in enumerate(devices)}


def _engine_name(device: PlanDevice, index: int) -> str:
    """llama.cpp's own name of a device: CUDA0, ROCm1, Vulkan0; a Mac has one and calls it MTL0."""
    return {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "metal": "MTL"}.get(device.compute_api, "GPU") + str(
        index
    )


def api_of_device_names(names: str | None) -> str | None:
    """The compute API of a `--device` list in the engine's names ("Vulkan0,Vulkan1"); None where it does not say."""
    words = {name.strip().rstrip("0123456789") for name in (names or "").split(",")}
    found = [api for api, name in _API_NAMES.items() if words == {name}]
    return found[0] if found else None


def _split_points(tensor_split: Sequence[float], devices: tuple[PlanDevice, ...]) -> list[float]:
    """Cumulated shares 0..1 in the engine's single precision, so that a layer on the border falls on the same side."""
    shares = [*tensor_split[: len(devices)], *(0.0 for _ in devices[len(tensor_split) :])]
    if not (all(share >= 0 for share in shares) and sum(shares) <= _MOST_SHARES):  # true for NaN as well
        raise NoExactRuleError(f"--tensor-split {','.join(f'{share:g}' for share in shares)} divides nothing")
    if not any(shares):
        free = [device.free_bytes if device.free_bytes is not None else device.total_bytes for device in devices]
        known = [amount for amount in free if amount is not None]
        if known and len(known) != len(free):
            raise NoExactRuleError("the split over devices needs the free memory of all of them or of none")
        shares = [float(amount) for amount in known] if any(known) else [1.0 for _ in devices]
    total = 0.0
    points: list[float] = []
    for share in shares:
        total = _float32(total + _float32(share))
        points.append(total)
    return [_float32(point / total) for point in points]


def _float32(value: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def override_rules(settings: LlamaSettings) -> tuple[tuple[str, str], ...]:
    """(regular expression, buffer type) in the order of `tensor_buft_overrides`.

    `--cpu-moe`, `--n-cpu-moe` and `--n-cpu-ffn` are shorthands for overrides (common/common.h, common/arg.cpp).
    """
    experts = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
    rules = list(settings.tensor_overrides)
    if settings.cpu_moe:
        rules.append((experts, "CPU"))
    # No model has more layers (LLAMA_MAX_LAYERS), so that further rules match nothing.
    moe, ffn = (min(layers, _MOST_LAYERS) for layers in (settings.cpu_moe_layers, settings.cpu_ffn_layers))
    rules.extend((rf"blk\.{layer}{experts}", "CPU") for layer in range(moe))
    rules.extend((rf"blk\.{layer}\.ffn_(up|down|gate)\.", "CPU") for layer in range(ffn))
    return tuple(rules)
