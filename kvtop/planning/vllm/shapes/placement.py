"""What one rank holds of a model's matrices: tensor, expert, data and pipeline parallelism.

Source: vLLM 0.32.0, `layers/linear.py`, `layers/vocab_parallel_embedding.py`, `layers/fused_moe/config.py`
(`FusedMoEParallelConfig.make`: without expert parallelism, experts are cut over tensor and data ranks together).
"""

from dataclasses import dataclass

from kvtop.planning.vllm.shapes.formats import Scheme, loaded_bytes
from kvtop.planning.vllm.shapes.matrix import Cut, Matrix
from kvtop.planning.vllm.shapes.quantization import WeightFormats

_VOCABULARY_PADDING = 64
_GPT_OSS_TILES = (128, 256)
"""Inner and outer widths of MXFP4 experts are rounded up to these by the Marlin kernels
(`fused_moe/oracle/mxfp4.py`, `mxfp4_round_up_hidden_size_and_intermediate_size`)."""


@dataclass(frozen=True, slots=True)
class Parallel:
    """Ranks of one server. `experts`: `--enable-expert-parallel`. `whole_towers`: encoders are on every rank."""

    tp_size: int = 1
    dp_size: int = 1
    experts: bool = False
    whole_towers: bool = False

    @property
    def expert_ranks(self) -> int:
        """Ranks that share the experts of a layer."""
        return self.tp_size * self.dp_size


def rank_bytes(matrix: Matrix, quantization: WeightFormats, parallel: Parallel, model_bytes: int) -> float:
    """Bytes of one matrix on one rank of its stage; `model_bytes` an element of the model's dtype."""
    form = quantization.format_of(matrix)
    plain = matrix.element_bytes or model_bytes
    rows, columns, count = _held(matrix, parallel)
    if matrix.is_expert and form.scheme is Scheme.MXFP4:
        rows, columns = _padded(matrix, rows, columns)
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


def _padded(matrix: Matrix, rows: int, columns: int) -> tuple[int, int]:
    inner, outer = _GPT_OSS_TILES
    if matrix.split is Cut.OUTPUT:
        return 2 * (-(-rows // (2 * inner)) * inner), -(-columns // outer) * outer
    return -(-rows // outer) * outer, -(-columns // inner) * inner
