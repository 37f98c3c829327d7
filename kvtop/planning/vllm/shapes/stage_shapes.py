"""The weights of each pipeline stage's ranks from config.json alone, as ranges."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.figure import Figure
from kvtop.domain.plan import MalformedModelError
from kvtop.planning.vllm.dtypes import ELEMENT_BYTES
from kvtop.planning.vllm.models.cached_layers import CachedLayer, hidden_size, layer_count
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.models.model_facts import quantisation
from kvtop.planning.vllm.shapes.decoder import decoder, is_tied
from kvtop.planning.vllm.shapes.encoders import encoders
from kvtop.planning.vllm.shapes.formats import Scheme
from kvtop.planning.vllm.shapes.matrix import Cut, Matrix
from kvtop.planning.vllm.shapes.placement import Parallel, rank_bytes
from kvtop.planning.vllm.shapes.quantization import WeightFormats, online, quantization_of

_MIB = 1 << 20
_BUFFERS_BYTES = 16 * _MIB
"""Rotary tables and the like, which a loaded model has beside its parameters: 10 to 40 MiB in public logs."""
_LOW_RATIO, _HIGH_RATIO = 0.0, 0.006
"""What vLLM says that loading took, over the parameters: 0.0 to 0.6 % more in public logs without quantization."""
_PACKED_LOW_RATIO, _PACKED_HIGH_RATIO = 0.02, 0.03
"""The same where kernels repack or pad quantized weights: Marlin, FlashInfer, DeepGEMM."""
_TOWER_RATIO = 0.25
_AGREES = (0.97, 1.09)
"""Draft layers that are not loaded are up to 9 % of a checkpoint."""
_DOUBT_RATIOS = {Scheme.FP8: (0.04, 0.12), Scheme.FP8_BLOCK: (0.04, 0.12), Scheme.INT8: (0.04, 0.12)}
_DOUBT_RATIOS_OF_FOUR_BITS = (0.08, 0.35)
"""How much less and more a checkpoint may be whose quantization only its name gives away: layers left in 16 bits."""


@dataclass(frozen=True, slots=True)
class ShapeTerms:
    """What decides a rank's share. `asked` is `--quantization`; `model` the model's name, for what it gives away."""

    model_dtype: str
    parallel: Parallel
    stages: tuple[tuple[int, int], ...]
    model: str = ""
    asked: str = ""
    with_encoders: bool = True
    loads_draft: bool = False
    """Layers of next-token prediction are loaded as a draft."""
    stored_bytes: int | None = None
    """All tensors of the checkpoint together, where its index says so."""


def shape_weights(
    view: ConfigView, caches: tuple[CachedLayer, ...], terms: ShapeTerms, extra: tuple[Matrix, ...] = ()
) -> tuple[tuple[Figure, ...], str]:
    """Bytes on one rank of each stage, and why they are a guess ("" where they are not).

    `caches` are the layers of one rank that holds all heads; `extra` matrices are a draft's.

    Raises:
        MalformedModelError: the configuration lacks a size that the class needs.
    """
    matrices = decoder(view, caches) + extra
    towers = encoders(view, hidden_size(view)) if terms.with_encoders else ()
    if not sum(matrix.elements for matrix in matrices):
        raise MalformedModelError("by config.json the model has no weights")
    stored = quantization_of(quantisation(view), terms.model, _word(view.values, "expert_dtype"))
    quantization = online(terms.asked, stored) if terms.asked else stored
    last, count = len(terms.stages) - 1, layer_count(view)
    known, doubtful, packed = [0.0] * (last + 1), [0.0] * (last + 1), [0.0] * (last + 1)
    model_bytes = ELEMENT_BYTES[terms.model_dtype]
    for matrix in matrices:
        size = rank_bytes(matrix, quantization, terms.parallel, model_bytes)
        is_packed = quantization.format_of(matrix).scheme not in (Scheme.PLAIN, Scheme.FP8_BLOCK, Scheme.FP8)
        for stage in _held(matrix, terms.stages, count, tied=is_tied(view)):
            known[stage] += size
            packed[stage] += size if is_packed else 0
    for matrix in towers:
        size = rank_bytes(matrix, _plain_towers(quantization), terms.parallel, model_bytes)
        doubtful[0] += size
    factor = _factor(matrices + towers, quantization, model_bytes, terms.stored_bytes)
    if factor != 1:
        known, doubtful, packed = ([size * factor for size in sizes] for sizes in (known, doubtful, packed))
    ranges = tuple(
        _range(known[stage], doubtful[stage], packed[stage], _doubt_ratios(quantization)) for stage in range(last + 1)
    )
    return ranges, quantization.doubt


def _factor(
    matrices: tuple[Matrix, ...], quantization: WeightFormats, model_bytes: int, stored_bytes: int | None
) -> float:
    """What the checkpoint's own total is over the shapes, 1 where they agree but for layers that vLLM does not load."""
    if not stored_bytes:
        return 1
    whole = sum(
        rank_bytes(matrix, quantization, Parallel(as_stored=True), model_bytes)
        for matrix in matrices
        if not matrix.name.endswith("_unfolded")
    )
    factor = stored_bytes / whole
    return 1 if _AGREES[0] <= factor <= _AGREES[1] else factor


def _plain_towers(quantization: WeightFormats) -> WeightFormats:
    """Encoders stay as they are in nearly every quantized checkpoint."""
    del quantization
    return WeightFormats()


def _word(values: Mapping[str, object], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def _doubt_ratios(quantization: WeightFormats) -> tuple[float, float]:
    if not quantization.doubt:
        return 0.0, 0.0
    return _DOUBT_RATIOS.get(quantization.format.scheme, _DOUBT_RATIOS_OF_FOUR_BITS)


def _range(known: float, doubtful: float, packed: float, doubt: tuple[float, float]) -> Figure:
    value = known + doubtful + _BUFFERS_BYTES
    low = known * (1 - _LOW_RATIO) + doubtful * (1 - _TOWER_RATIO) - packed * _PACKED_LOW_RATIO
    high = value + known * _HIGH_RATIO + doubtful * _TOWER_RATIO + packed * _PACKED_HIGH_RATIO + 2 * _BUFFERS_BYTES
    low, high = low * (1 - doubt[0]), high * (1 + doubt[1])
    return Figure.estimated(int(value), int(low), int(high))


def _held(matrix: Matrix, stages: tuple[tuple[int, int], ...], count: int, *, tied: bool) -> tuple[int, ...]:
    """The pipeline stages that hold a matrix."""
    last = len(stages) - 1
    if matrix.layer is not None and matrix.layer < count:
        return tuple(stage for stage, (start, stop) in enumerate(stages) if start <= matrix.layer < stop)
    if matrix.layer is not None or matrix.name == "lm_head":
        return (last,)
    if matrix.split is Cut.VOCABULARY and tied and last:
        return (0, last)
    return (0,)
