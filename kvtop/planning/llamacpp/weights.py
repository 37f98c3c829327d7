"""What the weights take on each device (`llama_model_loader::create_tensor`, src/llama-model-loader.cpp, b11434).

A tensor goes to its layer's device if the device can run its operation, else to the host. Buffers pad every tensor to
their alignment; CUDA also pads the last row of a quantized matrix (`ggml_backend_cuda_buffer_type_get_alloc_size`).
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.model_file import GgufHeader, TensorInfo
from kvtop.domain.plan import UnknownArchitectureError
from kvtop.planning.llamacpp.architectures import COPIED_FIRST, MTP_NEVER, MTP_ON_DEMAND, TIED
from kvtop.planning.llamacpp.buffers import BUFFER_RULES, HOST_BUFFER, BufferRule
from kvtop.planning.llamacpp.gpu_operations import gpu_can_hold
from kvtop.planning.llamacpp.hparams import HParams
from kvtop.planning.llamacpp.placement import HOST, Placement

INPUT = -1
OUTPUT = -2
EVERY_LAYER = -3

_BLOCK = re.compile(r"blk\.(\d+)\.")
_INPUTS = frozenset({"token_embd", "token_types", "position_embd", "per_layer_token_embd"})
_PER_LAYER = frozenset({"rope_freqs", "rope_factors_long", "rope_factors_short"})
_FIRST_LAYER = frozenset({"token_embd_norm", "per_layer_model_proj", "per_layer_proj_norm", "hrm"})
_CPU_REPACKED = frozenset({"q4_0", "q4_K", "iq4_nl", "mxfp4"})


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor that llama.cpp loads. `site` is a block index, INPUT, OUTPUT or EVERY_LAYER."""

    name: str
    site: int
    tensor: TensorInfo
    size_bytes: int
    fits_gpu: bool


@dataclass(frozen=True, slots=True)
class SiteSum:
    """Allocated bytes of one site: of what the device can use, by buffer rule; and of what stays on the host."""

    usable: Mapping[BufferRule, int]
    host_only_bytes: int


@dataclass(frozen=True, slots=True)
class WeightSet:
    """The tensors of a file, sorted by where they go.

    `copy` is the token embedding as it is created again for the output layer, None when the file has an output matrix.
    """

    weights: tuple[Weight, ...]
    sites: Mapping[int, SiteSum]
    """Sums per site, so that a plan without overrides need not walk hundreds of tensors."""
    copy: Weight | None
    size_bytes: int
    """Raw bytes of what is loaded without prediction blocks, each tensor once: `/v1/models` calls it `size`."""


def weight_set(header: GgufHeader, hparams: HParams) -> WeightSet:
    """Sort the tensors of a file. Raises UnknownArchitectureError for a tensor type whose size is not known."""
    if hparams.n_layer_nextn and hparams.arch not in MTP_NEVER | MTP_ON_DEMAND:
        raise UnknownArchitectureError(f"kvtop has no rule for the prediction blocks of {hparams.arch}")
    weights: list[Weight] = []
    names = set()
    for tensor in header.tensors:
        if tensor.size_bytes is None:
            raise UnknownArchitectureError(
                f"tensor {tensor.name} has a type ({tensor.type_id}) that kvtop does not know"
            )
        names.add(tensor.name)
        site = _site(tensor.name, hparams)
        fits = gpu_can_hold(tensor, hparams)
        weights.append(Weight(tensor.name, site, tensor, tensor.size_bytes, fits))
    if hparams.n_layer_nextn and "blk.0.attn_norm.weight" not in names:
        raise UnknownArchitectureError("kvtop has no rule for a file that holds prediction blocks only")
    copy = None
    if hparams.arch in TIED and "output.weight" not in names:
        embedding = next((weight for weight in weights if weight.name == "token_embd.weight"), None)
        if embedding is not None:
            fits = gpu_can_hold(embedding.tensor, hparams, as_output=True)
            copy = Weight(embedding.name, OUTPUT, embedding.tensor, embedding.size_bytes, fits)
    if hparams.arch == "codeshell" and "token_embd.weight" not in names:
        # The other way round: the output matrix is created a second time to look embeddings up in.
        copy = next((weight for weight in weights if weight.name == "output.weight"), None)
    loaded = sum(weight.size_bytes for weight in weights if weight.site < hparams.n_layer)
    return WeightSet(tuple(weights), _sites(weights), copy, loaded)


def _sites(weights: list[Weight]) -> dict[int, SiteSum]:
    usable: dict[int, dict[BufferRule, int]] = {}
    host_only: Counter[int] = Counter()
    for weight in weights:
        sums = usable.setdefault(weight.site, {})
        if not weight.fits_gpu:
            host_only[weight.site] += HOST_BUFFER.allocated(weight.tensor, weight.size_bytes)
            continue
        for rule in BUFFER_RULES:
            sums[rule] = sums.get(rule, 0) + rule.allocated(weight.tensor, weight.size_bytes)
    return {site: SiteSum(sums, host_only[site]) for site, sums in usable.items()}


def _site(name: str, hparams: HParams) -> int:
    block = _BLOCK.match(name)
    if block:
        index = int(block.group(1))
        # Blocks beyond the model's layers belong to a head and go with the output.
        return index if index < hparams.n_layer_all else OUTPUT
    stem = name.split(".", 1)[0]
    if stem in _INPUTS:
        return INPUT
    if stem in _PER_LAYER:
        return EVERY_LAYER
    if stem in _FIRST_LAYER and not (stem == "token_embd_norm" and hparams.arch in {"lfm2", "lfm2moe"}):
        return 0
    return OUTPUT


@dataclass(frozen=True, slots=True)
class Loading:
    """How the weights of one file are loaded: where, and what of them.

    `overrides` are `-ot` rules; `with_prediction` wants prediction blocks (`--spec-type draft-mtp`); `repack` lets the
    CPU keep matrices in another layout.
    """

    placement: Placement
    buffers: Mapping[str, BufferRule]
    overrides: tuple[tuple[str, str], ...] = ()
    with_prediction: bool = False
    repack: bool = True


def weights_by_device(weight_set: WeightSet, hparams: HParams, loading: Loading) -> dict[str, int]:
    """Bytes of weights per device; every device of `loading.buffers` has an entry.

    Raises UnknownArchitectureError for an override that names another buffer type or is no regular expression.
    """
    totals = dict.fromkeys(loading.buffers, 0)
    target = Overrides(loading.overrides, loading.placement)
    last = hparams.n_layer
    if loading.with_prediction and hparams.arch in MTP_ON_DEMAND:
        last = hparams.n_layer_all
    if loading.overrides:
        for weight in weight_set.weights:
            if weight.site < last:
                for device in _devices(weight, hparams, loading.placement, target):
                    totals[device] += loading.buffers[device].allocated(weight.tensor, weight.size_bytes)
    else:
        _add_sites(totals, weight_set, hparams, loading, last)
    copy = weight_set.copy
    if copy is not None:
        device = target.of(copy.name) or (loading.placement.output if copy.fits_gpu else HOST)
        original = target.of(copy.name) or HOST
        repacked = not loading.placement.devices and loading.repack and _repacks(copy.tensor)
        if device != original or repacked or hparams.arch in COPIED_FIRST:
            totals[device] += loading.buffers[device].allocated(copy.tensor, copy.size_bytes)
    return totals


def _add_sites(totals: dict[str, int], weight_set: WeightSet, hparams: HParams, loading: Loading, last: int) -> None:
    for site, sums in weight_set.sites.items():
        if site < last:
            for device in _site_devices(site, hparams, loading.placement):
                totals[device] += sums.usable.get(loading.buffers[device], 0)
                totals[HOST] += sums.host_only_bytes


def _devices(weight: Weight, hparams: HParams, placement: Placement, target: "Overrides") -> set[str]:
    override = target.of(weight.name)
    if override is not None:
        return {override}
    return _site_devices(weight.site, hparams, placement) if weight.fits_gpu else {HOST}


def _site_devices(site: int, hparams: HParams, placement: Placement) -> set[str]:
    if site == INPUT:
        return {HOST}
    if site == OUTPUT:
        return {placement.output}
    if site == EVERY_LAYER:
        # Rope factors are created once in every buffer that some layer using them lives in.
        return {
            placement.layers[layer]
            for layer in range(min(hparams.n_layer, hparams.n_weight_layers))
            if not (hparams.arch == "gemma4" and hparams.is_swa[layer])
        }
    return {placement.layers[site]}


def _repacks(tensor: TensorInfo) -> bool:
    """Whether an AVX2 build keeps this matrix in a CPU_REPACK buffer (ggml/src/ggml-cpu/repack.cpp).

    Without an accelerator, that is a different buffer from the one that embeddings are looked up in.
    """
    return tensor.type_name in _CPU_REPACKED and len(tensor.shape) > 1 and tensor.shape[1] % 8 == 0


class Overrides:
    """First matching `-ot` rule of a tensor name."""

    def __init__(self, rules: tuple[tuple[str, str], ...], placement: Placement) -> None:
        self._rules: list[tuple[re.Pattern[str], str]] = []
        grouped: list[tuple[list[str], str]] = []
        for pattern, buffer_type in rules:
            device = _buffer_device(buffer_type, placement)
            if grouped and grouped[-1][1] == device:
                grouped[-1][0].append(pattern)
            else:
                grouped.append(([pattern], device))
        for patterns, device in grouped:
            try:
                self._rules.append((re.compile("|".join(f"(?:{pattern})" for pattern in patterns)), device))
            except re.error as error:
                raise UnknownArchitectureError(f"kvtop cannot read the tensor override {patterns}: {error}") from error

    def of(self, name: str) -> str | None:
        """The device that a rule names for this tensor, or None."""
        for pattern, device in self._rules:
            if pattern.search(name):
                return device
        return None


def _buffer_device(buffer_type: str, placement: Placement) -> str:
    if buffer_type in {"CPU", "CUDA_Host", "ROCm_Host", "CPU_REPACK"}:
        return HOST
    match = re.fullmatch(r"(?:CUDA|ROCm|SIMCUDA|MTL|Vulkan)(\d+)(?:_Mapped|_Private)?", buffer_type)
    if match and int(match.group(1)) < len(placement.devices):
        return placement.devices[int(match.group(1))]
    raise UnknownArchitectureError(f"kvtop does not know the buffer type {buffer_type!r} of a tensor override")
