"""What an engine says of its pools, processes and models: a part of the snapshot."""

from typing import TypedDict

from kvtop.domain.server import ServerReading


class PoolJson(TypedDict):
    """The KV pool of one engine; null is unknown. `budget_bytes` is what each rank was told to give it."""

    engine_index: int
    capacity_tokens: int | None
    block_count: int | None
    block_size_tokens: int | None
    budget_bytes: int | None
    used_ratio: float | None
    used_tokens: int | None
    max_concurrency: float | None
    cache_type: str | None
    requests_running: float | None
    requests_waiting: float | None


class RankJson(TypedDict):
    """A process of the server and its part; indices are null where there is no such parallelism."""

    pid: int
    role: str
    data_parallel_index: int | None
    pipeline_parallel_index: int | None
    tensor_parallel_index: int | None


class HostedModelJson(TypedDict):
    """A model of a server that holds several. `expires_at` is Unix time in seconds; null: unknown or never."""

    name: str
    state: str
    size_bytes: int | None
    device_bytes: int | None
    context_tokens: int | None
    quantization: str | None
    expires_at: float | None


class RequestsJson(TypedDict):
    """Requests and what they cost so far; null: the engine does not say. `prefix_*` count tokens."""

    running: float | None
    waiting: float | None
    waiting_for_memory: float | None
    preemptions_total: float | None
    prefix_query_tokens_total: float | None
    prefix_hit_tokens_total: float | None


class EngineJson(TypedDict):
    """Fields of a server that its engine reports. `sleep_level` 1: weights in host memory, 2: dropped, 0: awake."""

    pools: list[PoolJson]
    ranks: list[RankJson]
    hosted: list[HostedModelJson] | None
    requests: RequestsJson
    sequence_limit_tokens: int | None
    sequence_limit: int | None
    sleep_level: int | None
    model_expires_at: float | None


def engine_parts(reading: ServerReading) -> EngineJson:
    """Those fields of one server."""
    counters = reading.counters
    return EngineJson(
        pools=[
            PoolJson(
                engine_index=pool.engine_index,
                capacity_tokens=pool.capacity_tokens,
                block_count=pool.block_count,
                block_size_tokens=pool.block_size_tokens,
                budget_bytes=pool.budget_bytes,
                used_ratio=pool.used_ratio,
                used_tokens=pool.used_tokens,
                max_concurrency=pool.max_concurrency,
                cache_type=pool.cache_type,
                requests_running=pool.requests_running,
                requests_waiting=pool.requests_waiting,
            )
            for pool in reading.pools
        ],
        ranks=[
            RankJson(
                pid=rank.pid,
                role=rank.role,
                data_parallel_index=rank.data_parallel_index,
                pipeline_parallel_index=rank.pipeline_parallel_index,
                tensor_parallel_index=rank.tensor_parallel_index,
            )
            for rank in reading.ranks
        ],
        hosted=None
        if reading.hosted is None
        else [
            HostedModelJson(
                name=model.name,
                state=model.state,
                size_bytes=model.size_bytes,
                device_bytes=model.device_bytes,
                context_tokens=model.context_tokens,
                quantization=model.quantization,
                expires_at=model.expires_at,
            )
            for model in reading.hosted
        ],
        requests=RequestsJson(
            running=counters.requests_processing,
            waiting=counters.requests_waiting,
            waiting_for_memory=counters.requests_waiting_for_memory,
            preemptions_total=counters.preemptions_total,
            prefix_query_tokens_total=counters.prefix_query_tokens_total,
            prefix_hit_tokens_total=counters.prefix_hit_tokens_total,
        ),
        sequence_limit_tokens=reading.sequence_limit_tokens,
        sequence_limit=reading.concurrent_sequences_limit,
        sleep_level=reading.sleep_level,
        model_expires_at=reading.model.expires_at,
    )
