"""What engines say of their own memory and parts, engine-neutral. None is unknown: this engine does not say it."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.figure import UNKNOWN, Basis, Figure
from kvtop.domain.memory import Memory, Segment


@dataclass(frozen=True, slots=True)
class PoolReport:
    """The KV pool of one engine of a server, as the engine reports it.

    A vLLM or SGLang server with data parallelism has several engines, each with a pool of its own; `engine_index`
    counts them from 0. Every rank of an engine (tensor or pipeline parallel) holds `block_count` blocks of its layers.
    """

    engine_index: int = 0
    capacity_tokens: int | None = None
    """As the engine counts it ("GPU KV cache size"): with several groups of layers not blocks times block size."""
    block_count: int | None = None
    """Of this engine alone, the reserved null block of vLLM included."""
    block_size_tokens: int | None = None
    budget_bytes: int | None = None
    """Bytes a rank that the pool was told to have; whole blocks are cut from it, so the pool itself may be smaller."""
    used_ratio: float | None = None
    """0..1 of the blocks that running requests hold; blocks kept only for prefix caching count as free."""
    used_tokens: int | None = None
    max_concurrency: float | None = None
    """Requests of the longest permitted length that fit at once."""
    cache_type: str | None = None
    """As configured ("auto", "fp8"); the type in memory may follow from the checkpoint."""
    requests_running: float | None = None
    requests_waiting: float | None = None
    null_blocks: int = 0
    """Blocks among `block_count` that never hold tokens, and that `used_ratio` leaves out."""

    @property
    def usable_share(self) -> float:
        """The part of the pool that tokens can fill: what `used_ratio` is a ratio of."""
        blocks = self.block_count
        return 1.0 if blocks is None or blocks <= self.null_blocks else (blocks - self.null_blocks) / blocks

    @property
    def usable_tokens(self) -> int | None:
        """Tokens that running requests can hold at once; None where the capacity is not known."""
        return None if self.capacity_tokens is None else round(self.capacity_tokens * self.usable_share)

    @property
    def held_tokens(self) -> int | None:
        """Tokens that running requests hold: as the engine counts them, else by the blocks they hold."""
        if self.used_tokens is not None or self.used_ratio is None or self.usable_tokens is None:
            return self.used_tokens
        return round(self.used_ratio * self.usable_tokens)


def reported(sizes: Mapping[Segment, int | None], source: str) -> Memory:
    """What an engine says, in bytes; None: it has no figure for it."""
    source = source or "the engine's own figure"
    figures = {
        segment: UNKNOWN if size is None else Figure(size, Basis.REPORTED, source=source)
        for segment, size in {**dict.fromkeys(REPORTED), **sizes}.items()
    }
    return Memory.of(figures)


REPORTED = (Segment.WEIGHTS, Segment.KV_CACHE, Segment.RECURRENT, Segment.COMPUTE)
"""What engines tell apart; output buffers are in COMPUTE."""
NOTHING_REPORTED = reported({}, "")


@dataclass(frozen=True, slots=True)
class RankReport:
    """Memory as the engine itself reports it, of one rank (SGLang: rank 0 of that engine speaks for all).

    `memory` has the segments that the engine can tell apart, made by `reported`; the rest is what else it counts.
    `device_id` is kvtop's ("gpu0", "host"), "engine gpu0" in the engine's own count of its accelerators, or None for
    a rank that speaks for all of its engine.

    `rounding_bytes`: the report is rounded, so the truth lies within half of this on either side.
    """

    engine_index: int = 0
    device_id: str | None = None
    memory: Memory = NOTHING_REPORTED
    total_bytes: int | None = None
    active_bytes: int | None = None
    """What arrays hold now (MLX): weights, caches, and the scratch of running requests."""
    kept_bytes: int | None = None
    """Buffers that are free and kept for reuse (MLX's cache)."""
    peak_bytes: int | None = None
    """The most that `active_bytes` has been."""
    rounding_bytes: int = 0
    source: str = ""
    compute_api: str = ""
    """The name of the API of that device, where the engine names it."""


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of a server and its part in it, from its own title ("VLLM::Worker_DP1_TP0").

    `role` is the engine's word, in small letters ("api server", "engine core", "worker", "scheduler"). Indices are None
    where there is no such parallelism. The device a rank is on is what the driver lists for `pid`.
    """

    pid: int
    role: str
    data_parallel_index: int | None = None
    pipeline_parallel_index: int | None = None
    tensor_parallel_index: int | None = None


@dataclass(frozen=True, slots=True)
class HostedModel:
    """A model that a server of several models knows of (Ollama, llama-swap, LM Studio).

    `expires_at` is Unix time in seconds; None: unknown, or it never does. `size_bytes` and `device_bytes` (the part on
    accelerators) are the engine's own estimate. `url` is the model's own endpoint.
    """

    name: str
    state: str = ""
    digest: str | None = None
    size_bytes: int | None = None
    device_bytes: int | None = None
    context_tokens: int | None = None
    quantization: str | None = None
    expires_at: float | None = None
    url: str | None = None
