"""What a backend allocates behind the result of fused attention, for its kernel (`get_alloc_size`, ggml, b11434).

ggml-cuda (and HIP, which compiles it) and ggml-sycl copy keys and values that are not f16 to f16; ggml-vulkan reads
them as they are (`ggml_nbytes`); ggml-metal keeps room for a copy whatever their type, and for its partial results
(`ggml_metal_op_flash_attn_ext_extra_*`). SYCL's oneDNN path may take a copy of the queries besides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

F16 = 2
_F32 = 4
_QUERIES, _CELLS, _WORKGROUPS, _TEMPORARY_QUERIES = 8, 64, 32, 32
"""Of Metal's kernels: queries and cells a threadgroup, workgroups and queries of the temporary buffer."""


class Scratch(Enum):
    """How an API's fused attention uses memory of its own."""

    COPIES_OTHER_TYPES = auto()
    COPIES_ALL = auto()
    NONE = auto()


_BY_API = {
    "cuda": (Scratch.COPIES_OTHER_TYPES, 9538),
    "rocm": (Scratch.COPIES_OTHER_TYPES, 9538),
    "sycl": (Scratch.COPIES_OTHER_TYPES, 11063),
    "metal": (Scratch.COPIES_ALL, 10566),
}
"""What it does, and the first build whose sources were read that reserves it with the graph: before, the kernel took it
from a pool of its own."""


def scratch_of(compute_api: str, build: int) -> Scratch:
    """By the API's name and llama.cpp's build; an API that is not known is taken to read the cache as it is."""
    scratch, first = _BY_API.get(compute_api, (Scratch.NONE, 0))
    return scratch if build >= first else Scratch.NONE


@dataclass(frozen=True, slots=True)
class Attention:
    """One attention operation: `cells` of all streams, `widths` and `types` of its cached rows, queries in all."""

    cells: int
    widths: Sequence[int]
    types: Sequence[str]
    heads: int
    heads_kv: int
    result_bytes: int
    queries: int
    streams: int


def scratch_bytes(scratch: Scratch, asked: Attention) -> int:
    """Bytes behind the result on a device."""
    cached = list(zip(asked.widths, asked.types, strict=False))
    if scratch is Scratch.NONE:
        return 0
    if scratch is Scratch.COPIES_OTHER_TYPES:
        return sum(width * asked.cells * F16 for width, kind in cached if kind not in {"f16", "f32"})
    copies = sum(-(-width * asked.cells * F16 // 16) * 16 for width, _ in cached)
    each = max(asked.queries // asked.streams, 1)
    # The key's stride is a whole row of all heads, and is counted for each of them.
    tail = _CELLS * (sum(width * F16 * asked.heads_kv for width, _ in cached) + each * F16) * asked.streams
    blocks = -(-each // _QUERIES) * -(-asked.cells // asked.streams // _CELLS) * asked.streams
    values = asked.result_bytes // max(asked.queries, 1)
    partial = min(each, _TEMPORARY_QUERIES) * asked.streams * _WORKGROUPS * (values + 2 * _F32 * asked.heads)
    return copies + tail + -(-blocks // 32) * 32 + partial
