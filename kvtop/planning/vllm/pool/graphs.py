"""CUDA graphs: how many batch sizes are captured, and what vLLM estimates that they take.

Source: vLLM 0.32.0, `config/vllm.py` (`_set_cudagraph_sizes`), `v1/worker/gpu/cudagraph_utils.py`.
"""

from kvtop.domain.figure import Figure
from kvtop.planning.vllm.options.batch import Batch
from kvtop.planning.vllm.options.settings import ServeSettings

_MIB = 1 << 20
_LARGEST = 512
_FIRST_BYTES = 50 * _MIB
_SIZE_BYTES = (8 * _MIB, 3 * _MIB, 24 * _MIB)
"""Bytes a captured size and kind: 0.09 GiB for 5, 0.36 for 16, 0.73 for 86 in public logs."""


def capture_sizes(settings: ServeSettings, batch: Batch) -> tuple[int, ...]:
    """The batch sizes that are captured: 1, 2, 4, by eights to 256, by sixteens beyond."""
    if settings.capture_sizes:
        return settings.capture_sizes
    largest = settings.largest_capture or min(batch.max_seqs * 2 * (1 + settings.draft_tokens), _LARGEST)
    largest = min(largest, batch.max_batched_tokens)
    sizes = [size for size in (1, 2, 4) if size <= largest]
    sizes += range(8, min(largest + 1, 256), 8)
    sizes += range(256, largest + 1, 16)
    return tuple(sizes)


def graph_bytes(settings: ServeSettings, batch: Batch) -> Figure:
    """The estimate that is taken off the pool; full graphs are captured to the number of sequences."""
    sizes = capture_sizes(settings, batch)
    full = sum(size <= batch.max_seqs for size in sizes)
    number = len(sizes) + full
    value, low, high = (int(_FIRST_BYTES * (low > 0) + number * low) for low in _SIZE_BYTES)
    return Figure.estimated(value, low, high)
