"""What the weights take on each device (`llama_model_loader::create_tensor`, src/llama-model-loader.cpp, b11434).

A tensor goes to its layer's device if the device can run its operation, else to the host. Buffers pad every tensor to
their alignment; CUDA also pads the last row of a quantized matrix (`ggml_backend_cuda_buffer_type_get_alloc_size`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from kvtop.domain.model_file import GgufHeader, TensorInfo
from kvtop.domain.plan import NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.memory.buffers import BUFFER_RULES, HOST_BUFFER, BufferRule
from kvtop.planning.llamacpp.memory.gpu_operations import gpu_can_hold
from kvtop.planning.llamacpp.memory.override_patterns import first_match, first_of_block, rules_by_block, searcher
from kvtop.planning.llamacpp.memory.placement import ENGINE, HOST, Placement, engine_devices, is_cuda_build
from kvtop.planning.llamacpp.memory.weight import SiteSum, Weight, sum_of
from kvtop.planning.llamacpp.model.hparams import HParams

INPUT = -1
OUTPUT = -2
EVERY_LAYER = -3

_INPUTS = frozenset({"token_embd", "token_types", "position_embd", "per_layer_token_embd"})
_PER_LAYER = frozenset({"rope_freqs", "rope_factors_long", "rope_factors_short"})
_FIRST_LAYER = frozenset({"token_embd_norm", "per_layer_model_proj", "per_layer_proj_norm", "hrm"})
_IN_BLOCK = re.compile(r"blk\.([0-9]{1,9})\.(.+)", re.DOTALL)
_CPU_REPACKED = frozenset({"q4_0", "q4_K", "iq4_nl", "mxfp4"})


Pieces = tuple[Weight, ...]


@dataclass(frozen=True, slots=True)
class WeightSet:
    """The tensors of a file, sorted by where they go.

    `copy` is the token embedding as it is created again for the output layer, None when the file has an output matrix.
    """

    blocks: Mapping[int, Pieces]
    """Tensors of `blk.N.`; equal blocks share one tuple."""
    others: tuple[tuple[int, Weight], ...]
    """Tensors outside of blocks with their site: INPUT, OUTPUT, EVERY_LAYER or block 0."""
    sums: Mapping[Pieces, SiteSum]
    """Of each kind of block, so that a plan without overrides need not walk hundreds of tensors."""
    copy: Weight | None
    size_bytes: int
    """Raw bytes of what is loaded without prediction blocks, each tensor once: `/v1/models` calls it `size`."""

    def named(self, hparams: HParams) -> Iterator[tuple[str, int, Weight]]:
        """Every tensor: full name, site, and what it is."""
        for block, pieces in self.blocks.items():
            site = block_site(block, hparams)
            for piece in pieces:
                yield f"blk.{block}.{piece.name}", site, piece
        for site, piece in self.others:
            yield piece.name, site, piece


def weight_set(header: GgufHeader, hparams: HParams) -> WeightSet:
    """Sort the tensors of a file. Raises NoExactRuleError for a tensor type whose size is not known."""
    if hparams.n_layer_nextn and not hparams.traits.prediction:
        raise NoExactRuleError(f"kvtop has no rule for the prediction blocks of {hparams.arch}")
    blocks, others = _sorted(header, hparams)
    shared: dict[Pieces, Pieces] = {}
    pieces = {block: shared.setdefault(found, found) for block, found in ((n, tuple(w)) for n, w in blocks.items())}
    if hparams.n_layer_nextn and not any(piece.name == "attn_norm.weight" for piece in pieces.get(0, ())):
        raise NoExactRuleError("kvtop has no rule for a file that holds prediction blocks only")
    named = {kind.name: kind for _, kind in others}
    copy = None
    embedding, output = named.get("token_embd.weight"), named.get("output.weight")
    if hparams.traits.ties_output and output is None and embedding is not None:
        copy = replace(embedding, fits_gpu=gpu_can_hold(embedding.tensor, hparams, as_output=True))
    if hparams.traits.ties_embedding and embedding is None:
        # The other way round: the output matrix is created a second time to look embeddings up in.
        copy = output
    loaded = sum(kind.size_bytes for _, kind in others)
    for block, kinds in pieces.items():
        if block_site(block, hparams) < hparams.n_layer:
            loaded += sum(kind.size_bytes for kind in kinds)
    return WeightSet(pieces, tuple(others), {kind: sum_of(kind) for kind in shared}, copy, loaded)


def _sorted(header: GgufHeader, hparams: HParams) -> tuple[dict[int, list[Weight]], list[tuple[int, Weight]]]:
    """Tensors of blocks, and those outside with their site."""
    kinds: dict[tuple[str, int, tuple[int, ...]], Weight] = {}
    blocks: dict[int, list[Weight]] = {}
    others: list[tuple[int, Weight]] = []
    for tensor in header.tensors:
        name = tensor.name
        block = -1
        place = _IN_BLOCK.fullmatch(name)
        if place is not None:
            block, name = int(place[1]), place[2]
        key = name, tensor.type_id, tensor.shape
        kind = kinds.get(key)
        if kind is None:
            kind = kinds[key] = _weight(name, tensor, hparams)
        if block < 0:
            others.append((_site(name, hparams), kind))
        elif block in blocks:
            blocks[block].append(kind)
        else:
            blocks[block] = [kind]
    return blocks, others


def _weight(name: str, tensor: TensorInfo, hparams: HParams) -> Weight:
    size_bytes = tensor.size_bytes
    if size_bytes is None:
        raise NoExactRuleError(f"tensor {tensor.name} has a type ({tensor.type_id}) that kvtop does not know")
    shape = tensor.shape
    return Weight(
        name=name,
        suffix=name.removesuffix(".weight"),
        tensor=tensor,
        size_bytes=size_bytes,
        fits_gpu=gpu_can_hold(tensor, hparams),
        rows=shape[1] if len(shape) > 1 else 1,
        columns=shape[0] if shape else 1,
        allocated={rule: rule.allocated(tensor, size_bytes) for rule in BUFFER_RULES},
    )


def block_site(block: int, hparams: HParams) -> int:
    """Blocks beyond the model's layers belong to a head and go with the output."""
    return block if block < hparams.n_layer_all else OUTPUT


def _site(name: str, hparams: HParams) -> int:
    stem = name.split(".", 1)[0]
    if stem in _INPUTS:
        return INPUT
    if stem in _PER_LAYER:
        return EVERY_LAYER
    if stem in _FIRST_LAYER and not (stem == "token_embd_norm" and hparams.traits.embedding_norm != "first"):
        return 0
    return OUTPUT


@dataclass(frozen=True, slots=True)
class Loading:
    """How the weights of one file are loaded: where, and what of them.

    `overridden` are the tensors that an `-ot` rule names, with their device; `with_prediction` wants prediction blocks
    (`--spec-type draft-mtp`); `repack` lets the CPU keep matrices in another layout.
    """

    placement: Placement
    buffers: Mapping[str, BufferRule]
    overridden: Mapping[str, str]
    with_prediction: bool = False
    repack: bool = True


def weights_by_device(weight_set: WeightSet, hparams: HParams, loading: Loading) -> dict[str, int]:
    """Bytes of weights per device; every device of `loading.buffers` has an entry."""
    totals = dict.fromkeys(loading.buffers, 0)
    placement, overridden = loading.placement, loading.overridden
    last = hparams.n_layer
    if loading.with_prediction and hparams.traits.predicts_on_demand:
        last = hparams.n_layer_all
    _add_sites(totals, weight_set, hparams, loading, last)
    copy = weight_set.copy
    if copy is not None:
        device = overridden.get(copy.name) or (placement.output if copy.fits_gpu else HOST)
        original = overridden.get(copy.name) or HOST
        in_repack = not placement.devices and loading.repack and repacked(copy.tensor)
        in_host = bool(placement.devices) and copy.tensor.type_name in hparams.build.host_copy_types
        if device != original or in_repack or in_host or hparams.traits.copies_output_first:
            totals[device] += copy.in_buffer(loading.buffers[device])
    return totals


def _add_sites(totals: dict[str, int], weight_set: WeightSet, hparams: HParams, loading: Loading, last: int) -> None:
    placement, buffers, overridden = loading.placement, loading.buffers, loading.overridden
    touched = blocks_named(overridden)
    for block, pieces in weight_set.blocks.items():
        site = block_site(block, hparams)
        if site >= last and not hparams.traits.prediction_tensors:
            continue
        device = placement.output if site == OUTPUT else placement.layers[site]
        if site >= last:
            for piece in pieces:
                if piece.name in hparams.traits.prediction_tensors:
                    totals[device] += piece.in_buffer(buffers[device])
        elif block in touched:
            for piece in pieces:
                usual = device if piece.fits_gpu else HOST
                where = overridden.get(f"blk.{block}.{piece.name}", usual)
                totals[where] += piece.in_buffer(buffers[where])
        else:
            sums = weight_set.sums[pieces]
            totals[device] += sums.in_buffer(buffers[device])
            totals[HOST] += sums.host_only_bytes
    for site, weight in weight_set.others:
        named = overridden.get(weight.name)
        usual_ones = _site_devices(site, hparams, placement, last) if weight.fits_gpu else {HOST}
        for where in usual_ones if named is None else (named,):
            totals[where] += weight.in_buffer(buffers[where])


def blocks_named(names: Iterable[str]) -> set[int]:
    """The blocks that some of these tensors belong to."""
    return {int(number) for name in names if name.startswith("blk.") and (number := name.split(".", 2)[1]).isdecimal()}


def _site_devices(site: int, hparams: HParams, placement: Placement, last: int) -> set[str]:
    if site == INPUT:
        return {HOST}
    if site == OUTPUT:
        return {placement.output}
    if site == EVERY_LAYER:
        # Rope factors are created once in every buffer that some layer using them lives in.
        return {
            placement.layers[layer]
            for layer in range(min(last, hparams.n_weight_layers))
            if not (hparams.traits.turns_in_window_plainly and hparams.is_swa[layer])
        }
    return {placement.layers[site]}


def tensor_devices(
    weight_set: WeightSet, hparams: HParams, overridden: Mapping[str, str], placement: Placement
) -> dict[str, str]:
    """Where each tensor lies that is on one device, by full name."""
    found = {}
    for name, site, weight in weight_set.named(hparams):
        if site == EVERY_LAYER:
            continue
        usual = next(iter(_site_devices(site, hparams, placement, hparams.n_layer_all))) if weight.fits_gpu else HOST
        found[name] = overridden.get(name, usual)
    return found


def repacked(tensor: TensorInfo) -> bool:
    """Whether an AVX2 build keeps this matrix in a CPU_REPACK buffer (ggml/src/ggml-cpu/repack.cpp).

    Without an accelerator, that is a different buffer from the one that embeddings are looked up in.
    """
    return tensor.type_name in _CPU_REPACKED and len(tensor.shape) > 1 and tensor.shape[1] % 8 == 0


def repacked_bytes(weight_set: WeightSet, hparams: HParams) -> int:
    """What lies in CPU_REPACK buffers where the model uses no accelerator; prediction blocks are not loaded."""
    found = [weight for site, weight in weight_set.others if site != INPUT]
    found += [] if weight_set.copy is None else [weight_set.copy]
    for block, pieces in weight_set.blocks.items():
        if block_site(block, hparams) < hparams.n_layer:
            found += pieces
    return sum(weight.in_buffer(HOST_BUFFER) for weight in found if repacked(weight.tensor))


def overridden_tensors(
    weight_set: WeightSet, hparams: HParams, rules: tuple[tuple[str, str], ...], devices: tuple[PlanDevice, ...]
) -> dict[str, str] | Refusal:
    """Device of every tensor that a rule of `-ot` names; the first that matches wins.

    A Refusal for a buffer type that the engine would not know; raises NoExactRuleError for one that another
    build might, and as `searcher`.
    """
    if not rules:
        return {}
    placed: list[tuple[str, str]] = []
    for pattern, buffer_type in rules:
        device = _buffer_device(buffer_type, devices)
        if isinstance(device, Refusal):
            return device
        placed.append((pattern, device))
    by_block = rules_by_block(placed)
    if by_block is not None:
        return {
            f"blk.{block}.{piece.name}": found
            for block, own in by_block.items()
            for piece in weight_set.blocks.get(block, ())
            if (found := first_of_block(own, piece.name)) is not None
        }
    grouped: list[tuple[list[str], str]] = []
    for pattern, device in placed:
        if grouped and grouped[-1][1] == device:
            grouped[-1][0].append(pattern)
        else:
            grouped.append(([pattern], device))
    searchers = [(searcher(patterns), device) for patterns, device in grouped]
    matched = ((name, first_match(searchers, name)) for name, _, _ in weight_set.named(hparams))
    return {name: device for name, device in matched if device is not None}


def _buffer_device(buffer_type: str, devices: tuple[PlanDevice, ...]) -> str | Refusal:
    """The default buffer types of all devices are known by name, no others (parse_tensor_buffer_overrides)."""
    name = re.sub(r"^SIM(?=CUDA)|_(?:Mapped|Private)$", "", buffer_type)
    known = {"CPU": HOST, **engine_devices(devices)}
    if name in known:
        return known[name]
    if is_cuda_build(devices, name):
        return Refusal(ENGINE, 'error while handling argument "--override-tensor": unknown buffer type')
    raise NoExactRuleError(f"kvtop does not know the buffer type {buffer_type!r} of a tensor override")
