"""What llama.cpp reads to generate one token: each matrix once, the experts that a token uses, the cells in use."""

from collections import Counter
from itertools import pairwise

from kvtop.domain.plan import PlanDevice, Refusal
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.memory.kv_cache import SLIDING_WINDOW, CacheGroup
from kvtop.planning.llamacpp.memory.placement import HOST
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.memory.weights import EVERY_LAYER, INPUT, tensor_devices
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.model_plan import ModelPlan
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan_model
from kvtop.planning.protocol.decode_reads import DecodeReads

_F32_BYTES = 4
_EXPERTS = ("_exps.", "_chexps.")


def decode_reads(
    prepared: PreparedModel, settings: LlamaSettings, devices: tuple[PlanDevice, ...], at_tokens: int
) -> DecodeReads | Refusal:
    """The reads of one sequence with `at_tokens` in its cache. Raises as `planner.plan`."""
    found = plan_model(prepared, settings, devices)
    if isinstance(found, Refusal):
        return found
    hparams, layout = prepared.hparams, found.layout
    where = tensor_devices(prepared.weights, hparams, layout.overridden, layout.placement)
    weights: Counter[str] = Counter()
    experts_at: dict[int, str] = {}
    for name, site, weight in prepared.weights.named(hparams):
        if site == EVERY_LAYER or site >= hparams.n_layer:
            continue
        if any(word in name for word in _EXPERTS):
            experts_at[site] = where[name]
            share = hparams.n_expert_used[site] / max(hparams.n_expert, 1)
            weights[where[name]] += round(weight.size_bytes * min(share, 1.0))
        elif site != INPUT:
            weights[where[name]] += weight.size_bytes
    copy = prepared.weights.copy
    if copy is not None and not hparams.traits.ties_embedding:
        weights[layout.placement.output if copy.fits_gpu else HOST] += copy.size_bytes
    path = _path(hparams, found, experts_at)
    blocks = Counter(layout.placement.layers[: hparams.n_layer])
    mixtures = Counter(device for layer, device in experts_at.items() if layout.placement.layers[layer] == device)
    return DecodeReads(
        at_tokens=at_tokens,
        weights=weights,
        cache=_cache_bytes(found, at_tokens),
        blocks=blocks,
        mixtures=mixtures,
        crossings=sum(1 for before, after in pairwise(path) if before != after),
        crossing_bytes=hparams.n_embd * _F32_BYTES,
    )


def _path(hparams: HParams, found: ModelPlan, experts_at: dict[int, str]) -> list[str]:
    """The devices that a token's activations visit, in order."""
    placement = found.layout.placement
    path = []
    for layer in range(hparams.n_layer):
        path += [placement.cache_device(layer), placement.layers[layer], experts_at.get(layer, placement.layers[layer])]
    return [*path, placement.output]


def _cache_bytes(found: ModelPlan, at_tokens: int) -> Counter[str]:
    hparams, context = found.prepared.hparams, found.context
    totals: Counter[str] = Counter()
    for group in found.groups:
        totals[group.device] += round(
            _row_bytes(group, context.type_k, context.type_v) * _rows(group, found, at_tokens)
        )
    for state in found.layout.recurrent:
        # It is read and written.
        totals[state.device] += 2 * state.layers * sum(state.values) * _F32_BYTES
    # Layers without a cache of their own read another's.
    owners = sum(1 for layer in range(hparams.n_layer) if hparams.has_kv(layer))
    readers = hparams.n_layer / owners if owners else 1
    return Counter({name: round(amount * readers) for name, amount in totals.items()})


def _row_bytes(group: CacheGroup, type_k: str, type_v: str) -> float:
    kind_k, kind_v = CACHE_TYPES[type_k], CACHE_TYPES[type_v]
    row = group.width_k * kind_k.block_bytes / kind_k.block_values
    if group.width_v is not None:
        row += group.width_v * kind_v.block_bytes / kind_v.block_values
    return row * group.layers


def _rows(group: CacheGroup, found: ModelPlan, at_tokens: int) -> float:
    window = found.prepared.hparams.n_swa
    if group.kind == SLIDING_WINDOW and window:
        return min(at_tokens, window)
    return at_tokens / group.ratio
