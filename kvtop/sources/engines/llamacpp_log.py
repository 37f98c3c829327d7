"""The buffers that llama.cpp names in its log when it loads a model (b11434 with `-lv 4`; older builds always).

A line is `load_tensors:  CUDA0 model buffer size =  235.20 MiB`, from the function that made the buffer; two decimals.
Nothing else of a log is kept: it may hold prompts.
"""

import re
from collections.abc import Iterable, Mapping

from kvtop.domain.engine_report import REPORTED, RankReport, reported
from kvtop.domain.memory import Memory, Segment
from kvtop.planning.llamacpp.memory.placement import api_of_device_names

SOURCE = "the server's own log: buffer sizes when it loaded"
_MIB = 1024 * 1024
_ROUNDING_BYTES = _MIB // 100
"""Of one line: the truth is within half of a hundredth of a MiB."""

_LOADING = "load_model: loading model"
_BUFFER = re.compile(r"(?<!\S)(\S+)\s+(model|KV|RS|compute|output) buffer size =\s*(\d{1,12}(?:\.\d{1,6})?) MiB\s*$")
_ACCELERATOR = re.compile(r"(?:[A-Za-z]*?)(\d+)(?:_Split|_Mapped|_Private)?")
_KINDS = {
    "model": Segment.WEIGHTS,
    "KV": Segment.KV_CACHE,
    "RS": Segment.RECURRENT,
    "compute": Segment.COMPUTE,
    "output": Segment.COMPUTE,
}


def memory_reports(lines: Iterable[str]) -> tuple[RankReport, ...]:
    """Sums by device since the last time it began to load; () until the compute buffers are there.

    `device_id` is "host", or "engine gpuN" for the engine's own count of its accelerators. A server with a draft model
    names the buffers of both, and they are summed. A "_Mapped" buffer is the stretch of the file from its first tensor
    to its last, whatever lies between them, so it says no amount of weights.
    """
    found: dict[str, dict[Segment, int]] = {}
    counts: dict[str, int] = {}
    stretched: set[str] = set()
    apis: dict[str, str] = {}
    is_whole = False
    for line in lines:
        if _LOADING in line:
            found, counts, stretched, apis, is_whole = {}, {}, set(), {}, False
            continue
        match = _BUFFER.search(line)
        if match is None:
            continue
        name = device_of(match[1])
        if name is None:
            return ()
        sizes = found.setdefault(name, {})
        kind = _KINDS[match[2]]
        sizes[kind] = sizes.get(kind, 0) + round(float(match[3]) * _MIB)
        counts[name] = counts.get(name, 0) + 1
        if name != "host":
            apis[name] = api_of_device_names(match[1].partition("_")[0]) or ""
        if match[1].endswith("_Mapped"):
            stretched.add(name)
        is_whole = is_whole or match[2] == "compute"
    if not is_whole:
        return ()
    return tuple(
        RankReport(
            device_id=name,
            memory=_memory(sizes, is_stretched=name in stretched),
            total_bytes=None if name in stretched else sum(sizes.values()),
            rounding_bytes=_ROUNDING_BYTES * counts[name],
            source=SOURCE,
            compute_api=apis.get(name, ""),
        )
        for name, sizes in sorted(found.items())
    )


def _memory(sizes: Mapping[Segment, int], *, is_stretched: bool) -> Memory:
    """What is not in the log is not there; of a mapped file it says no size of the weights."""
    weights_bytes = None if is_stretched else sizes.get(Segment.WEIGHTS, 0)
    return reported({**dict.fromkeys(REPORTED, 0), **sizes, Segment.WEIGHTS: weights_bytes}, SOURCE)


def device_of(buffer_type: str) -> str | None:
    """Where a buffer type lies ("CUDA0", "CPU_REPACK", "Vulkan_Host", "MTL0_Mapped"); None where that is not known."""
    if buffer_type.startswith(("CPU", "BLAS")) or buffer_type.endswith("_Host"):
        return "host"
    if buffer_type.partition("_")[0] == "Metal":
        return "engine gpu0"
    match = _ACCELERATOR.fullmatch(buffer_type)
    return None if match is None else f"engine gpu{match[1]}"
