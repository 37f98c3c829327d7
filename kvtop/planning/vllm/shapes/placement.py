"""What one rank holds of a model's matrices: tensor, expert, data and pipeline parallelism.

Source: vLLM 0.32.0, `layers/linear.py`, `layers/vocab_parallel_embedding.py`, `layers/fused_moe/config.py`
(`FusedMoEParallelConfig.make`: without expert parallelism, experts are cut over tensor and data ranks together).
"""

from dataclasses import dataclass

from kvtop.planning.vllm.shapes.formats import Scheme, loaded_bytes
from kvtop.planning.vllm.shapes.matrix import Cut, Matrix
from kvtop.planning.vllm.shapes.quantization import WeightFormats

_VOCABULARY_PADDING = 64
_MARLIN_TILES = (128, 256)
"""Inner and outer widths of MXFP4 experts are rounded up to these by the Marlin and TensorRT-LLM kernels
(`fused_moe/oracle/mxfp4.py`, `mxfp4_round_up_hidden_size_and_intermediate_size`)."""
_TRITON_TILES = (256, 1)
"""The same of the Triton kernels, which Hopper has for gpt-oss, as their swizzled layout leaves it: 64.38 GiB for the
120B model and 13.47 for the 20B one (llm-d, vLLM 0.11)."""

_NARROW = 1024
"""A rank's share of an expert below which it is rounded up to the smaller tile."""


@dataclass(frozen=True, slots=True)
class Parallel:
    """Ranks of one server. `experts`: `--enable-expert-parallel`. `whole_towers`: encoders are on every rank."""

    tp_size: int = 1
    dp_size: int = 1
    experts: bool = False
    whole_towers: bool = False
    has_triton_experts: bool = False
    """MXFP4 experts are laid out for Triton's kernels."""
    as_stored: bool = False
    """What a file has, without what loading pads."""

    @property
    def expert_ranks(self) -> int:
        """Ranks that share the experts of a layer."""
        return self.tp_size * self.dp_size


def rank_bytes(matrix: Matrix, quantization: WeightFormats, parallel: Parallel, model_bytes: int) -> float:
    """Bytes of one matrix on one rank of its stage; `model_bytes` an element of the model's dtype."""
    form = quantization.format_of(matrix)
    plain = matrix.element_bytes or model_bytes
    rows, columns, count = _held(matrix, parallel)
    if matrix.is_expert and form.scheme is Scheme.MXFP4 and not parallel.as_stored:
        tiles = _TRITON_TILES if parallel.has_triton_experts else _MARLIN_TILES
        rows, columns = _padded(matrix, rows, columns, tiles)
    return count * loaded_bytes(form, rows, columns, plain)


def _held(matrix: Matrix, parallel: Parallel) -> tuple[int, int, int]:
    rows, columns, count, size = matrix.rows, matrix.columns, matrix.count, parallel.tp_size
    if matrix.is_expert:
        if parallel.experts:
            return rows, columns, -(-count // parallel.expert_ranks)
        size = parallel.expert_ranks
    match matrix.split:
        case Cut.OUTPUT:
            return -(-rows // size), columns, count
        case Cut.INPUT:
            return rows, -(-columns // size), count
        case Cut.KV:
            kept = max(1, matrix.heads // size)
            return rows // max(1, matrix.heads) * kept, columns, count
        case Cut.VOCABULARY:
            padded = -(-rows // _VOCABULARY_PADDING) * _VOCABULARY_PADDING
            return -(-padded // size), columns, count
        case Cut.TOWER:
            return (rows if parallel.whole_towers else -(-rows // size)), columns, count
    return rows, columns, count


def _padded(matrix: Matrix, rows: int, columns: int, tiles: tuple[int, int]) -> tuple[int, int]:
    inner, outer = tiles
    if (rows if matrix.split is Cut.OUTPUT else columns) < _NARROW:
        inner = _MARLIN_TILES[0]
    if matrix.split is Cut.OUTPUT:
        return 2 * (-(-rows // (2 * inner)) * inner), -(-columns // outer) * outer
    return -(-rows // outer) * outer, -(-columns // inner) * inner
