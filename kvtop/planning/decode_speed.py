"""Decode speed from bytes read per token and bandwidths: an estimate, labelled as one.

A token of one sequence reads every matrix that it uses once, and its cache once; that takes bytes divided by bandwidth,
and no kernel reaches the whole of it. What is reached, and what every layer costs beside it, was set by hand on public
measurements of llama.cpp (tests/fixtures/decode/measurements.csv; `make decode` prints them beside the estimates).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.answers.decode_speed import DecodeSpeed, MemoryRead
from kvtop.domain.plan import PlanDevice
from kvtop.planning.gpus.bandwidths import SOURCE, bandwidth_of, bandwidths_of_size
from kvtop.planning.protocol.decode_reads import DecodeReads

HOST = "host"
LOW_RATIO, HIGH_RATIO = 0.7, 1.4
"""Measured over estimated: nine of ten public measurements lie between them (tests/decode holds it)."""
BASIS = (
    "estimated, not measured: bytes read per token over the bandwidth of each memory; nine of ten public measurements "
    f"lie within {LOW_RATIO:g} to {HIGH_RATIO:g} times the estimate (docs/decode_speed.md)"
)
_HOST_LOW, _HOST_LIKELY, _HOST_HIGH = 51_200_000_000, 70_000_000_000, 96_000_000_000
HOST_ASSUMPTION = "assumed to have two channels, DDR4-3200 to DDR5-6000 (--host-bandwidth states it)"
_HOST_REACHED = 0.58
_CROSSING_SECONDS = 110e-6
_LINK_BYTES_PER_SECOND = 25_000_000_000
"""PCIe 4.0 with sixteen lanes, as copies reach it. Activations are small: it hardly counts."""
_REDUCTION_SECONDS = 20e-6
"""One reduction over the ranks of a tensor-parallel layer."""


@dataclass(frozen=True, slots=True)
class _Reached:
    """The share of the bandwidth that kernels reach, and what a layer and a layer with experts cost beside it."""

    share: float
    block_seconds: float
    mixture_seconds: float


_CUDA = _Reached(0.82, 60e-6, 45e-6)
_REACHED: Mapping[str, _Reached] = {
    "cuda": _CUDA,
    "rocm": _Reached(0.78, 45e-6, 40e-6),
    "vulkan": _Reached(0.78, 45e-6, 40e-6),
    "metal": _Reached(0.80, 190e-6, 210e-6),
}


def decode_speed(
    reads: DecodeReads, devices: tuple[PlanDevice, ...], host_bytes_per_second: int | None = None
) -> DecodeSpeed | str:
    """The estimate, or why there is none. `host_bytes_per_second` None: not stated."""
    by_name = {device.name: device for device in devices}
    found: list[MemoryRead] = []
    for name in dict.fromkeys((*reads.weights, *reads.cache)):
        read_bytes = reads.weights.get(name, 0) + reads.cache.get(name, 0)
        if not read_bytes:
            continue
        device = by_name.get(name)
        one = _host(read_bytes, host_bytes_per_second) if device is None else _card(device, read_bytes)
        if isinstance(one, str):
            return one
        found.append(one)
    if not found:
        return "it is not known what a token reads"
    likely = _seconds(reads, by_name, {it.name: it.bytes_per_second for it in found})
    fast = _seconds(reads, by_name, {it.name: it.high_bytes_per_second for it in found})
    slow = _seconds(reads, by_name, {it.name: it.low_bytes_per_second for it in found})
    return DecodeSpeed(1 / likely, LOW_RATIO / slow, HIGH_RATIO / fast, reads.at_tokens, tuple(found), BASIS)


def _host(read_bytes: int, stated: int | None) -> MemoryRead:
    if stated is not None:
        return MemoryRead(HOST, read_bytes, stated, stated, stated, "as stated")
    return MemoryRead(HOST, read_bytes, _HOST_LIKELY, _HOST_LOW, _HOST_HIGH, HOST_ASSUMPTION)


def _card(device: PlanDevice, read_bytes: int) -> MemoryRead | str:
    if device.bytes_per_second is not None:
        stated = device.bytes_per_second
        return MemoryRead(device.name, read_bytes, stated, stated, stated, "as stated")
    known = bandwidth_of(device.product)
    if known is not None:
        return MemoryRead(device.name, read_bytes, known, known, known, SOURCE)
    span = None if device.product else bandwidths_of_size(device.total_bytes)
    if span is None:
        return (
            f"the bandwidth of {device.product or device.name} is not known; state it with "
            "--gpu 'SIZE,bandwidth=936GB/s'"
        )
    low, high = span
    likely = round((low * high) ** 0.5)
    return MemoryRead(
        device.name,
        read_bytes,
        likely,
        low,
        high,
        "assumed as known cards of this size have (bandwidth=936GB/s in --gpu states it)",
    )


def _seconds(reads: DecodeReads, by_name: Mapping[str, PlanDevice], speeds: Mapping[str, int]) -> float:
    """Memories are read one after the other: a token goes through the layers in order."""
    total = reads.crossings * (_CROSSING_SECONDS + reads.crossing_bytes / _LINK_BYTES_PER_SECOND)
    for name, speed in speeds.items():
        read_bytes = reads.weights.get(name, 0) + reads.cache.get(name, 0)
        device = by_name.get(name)
        if device is None:
            total += read_bytes / (speed * _HOST_REACHED)
            continue
        reached = _REACHED.get(device.compute_api, _REACHED["vulkan"])
        mixtures = reads.mixtures.get(name, 0)
        plain = reads.blocks.get(name, 0) - mixtures
        total += read_bytes / (speed * reached.share)
        total += plain * reached.block_seconds + mixtures * reached.mixture_seconds
        if reads.ranks > 1:
            total += 2 * reads.blocks.get(name, 0) * _REDUCTION_SECONDS
    return total
