"""What vLLM's `/metrics` says of pools, requests and sleep: names of 0.6 to 0.32, one series an engine.

Sources: vLLM 0.32.0, `v1/metrics/loggers.py` and `v1/engine/core_client.py`; PR 18354 renamed gpu_cache_usage_perc.
Every counter has a twin `…_created` whose value is a date, so names are matched whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from kvtop.domain.engine_report import PoolReport
from kvtop.domain.launch import LaunchOption
from kvtop.domain.server import Counters
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.prometheus_text import MetricSample, parse_metrics
from kvtop.sources.endpoints.reply_fields import real, text
from kvtop.sources.engines.vllm_stated import stated_options
from kvtop.text import plain_number

CACHE_CONFIG = "vllm:cache_config_info"
USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
BY_REASON = "vllm:num_requests_waiting_by_reason"
SLEEP = "vllm:engine_sleep_state"
NEARLY_FULL_RATIO = 0.9
"""Of a pool: the next request, which needs blocks for its whole prompt, may not fit."""
_TOTALS: Mapping[str, tuple[str, ...]] = {
    "prompt_tokens_total": ("vllm:prompt_tokens_total",),
    "generated_tokens_total": ("vllm:generation_tokens_total",),
    "preemptions_total": ("vllm:num_preemptions_total",),
    "prefix_query_tokens_total": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    "prefix_hit_tokens_total": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    "ended_requests_total": ("vllm:request_generation_tokens_count",),
    "ended_generated_tokens_total": ("vllm:request_generation_tokens_sum",),
    "first_token_seconds_total": ("vllm:time_to_first_token_seconds_sum",),
    "first_token_requests_total": ("vllm:time_to_first_token_seconds_count",),
}
_SLEEP_LEVELS = {"awake": 0, "weights_offloaded": 1, "discard_all": 2}
_WANTED = frozenset({CACHE_CONFIG, *USAGE, RUNNING, WAITING, BY_REASON, SLEEP}) | {
    name for names in _TOTALS.values() for name in names
}

_NO_COUNTERS = Counters()


@dataclass(frozen=True, slots=True)
class VllmMetrics:
    """`has_engine` is false where the endpoint has no vLLM series: statistics are off, or it is something else."""

    pools: tuple[PoolReport, ...] = ()
    stated: tuple[LaunchOption, ...] = ()
    counters: Counters = _NO_COUNTERS
    sleep_level: int | None = None
    model_name: str | None = None
    has_engine: bool = False


def read_metrics(reply: Reply | None) -> VllmMetrics:
    """The series that matter; nothing of a reply that is not 200."""
    if reply is None or reply.status != 200:
        return VllmMetrics()
    found = _KNOWN.get(reply)
    if found is None:
        found = _KNOWN[reply] = _read(reply.body)
    return found


_KNOWN: WeakKeyDictionary[Reply, VllmMetrics] = WeakKeyDictionary()
"""Read once, however many members of an adapter ask; kept as long as the reply itself."""


def _read(body: bytes) -> VllmMetrics:
    samples = parse_metrics(body.decode("utf-8", "replace"), _WANTED)
    by_name: dict[str, list[MetricSample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    if not by_name:
        return VllmMetrics()
    sleeping = [_sleep_level(sample) for sample in by_name.get(SLEEP, ()) if sample.value == 1]
    names = [text(dict(sample.labels).get("model_name")) for sample in samples]
    return VllmMetrics(
        pools=_pools(by_name),
        stated=next((stated_options(dict(sample.labels)) for sample in by_name.get(CACHE_CONFIG, ())), ()),
        counters=_counters(by_name),
        sleep_level=max((level for level in sleeping if level is not None), default=None),
        model_name=next((name for name in names if name is not None), None),
        has_engine=True,
    )


def _sleep_level(sample: MetricSample) -> int | None:
    return _SLEEP_LEVELS.get(dict(sample.labels).get("sleep_state", ""))


def _pools(by_name: Mapping[str, list[MetricSample]]) -> tuple[PoolReport, ...]:
    configs = {_engine(sample): dict(sample.labels) for sample in by_name.get(CACHE_CONFIG, ())}
    told_by = next((name for name in USAGE if name in by_name), "")
    usage = _by_engine(by_name.get(told_by, ()))
    running, waiting = _by_engine(by_name.get(RUNNING, ())), _by_engine(by_name.get(WAITING, ()))
    has_engines = any("engine" in dict(sample.labels) for samples in by_name.values() for sample in samples)
    if not configs:
        configs = {engine: {} for engine in usage}
    elif len(configs) == 1 and len(usage) == 1:  # older versions label the configuration otherwise than the gauges
        configs = dict.fromkeys(usage, next(iter(configs.values())))
    pools = []
    for engine, labels in sorted(configs.items()):
        pool = _pool(engine, labels, len(configs))
        if pool.capacity_tokens is None and not has_engines and pool.block_count and pool.block_size_tokens:
            # The engine before V1 knew one group of layers only.
            pool = replace(pool, capacity_tokens=pool.block_count * pool.block_size_tokens)
        ratio = usage.get(engine)
        pools.append(
            replace(
                pool,
                used_ratio=ratio if ratio is not None and ratio <= 1 else None,
                requests_running=running.get(engine),
                requests_waiting=waiting.get(engine),
                null_blocks=null_blocks(told_by),
            )
        )
    return tuple(pools)


def _pool(engine: int, labels: Mapping[str, str], engines: int) -> PoolReport:
    return PoolReport(
        engine_index=engine,
        capacity_tokens=_number(labels, "kv_cache_size_tokens"),
        block_count=blocks_of_one(_number(labels, "num_gpu_blocks"), engines),
        block_size_tokens=_number(labels, "block_size"),
        budget_bytes=_number(labels, "kv_cache_memory_bytes"),
        max_concurrency=_real(labels.get("kv_cache_max_concurrency", "")),
        cache_type=text(labels.get("cache_dtype")),
    )


def blocks_of_one(blocks: int | None, engines: int) -> int | None:
    """Blocks of one engine: the sum over all of them stands on each (core_client.py), and they are alike."""
    if blocks is None or engines <= 1:
        return blocks
    return blocks // engines if blocks % engines == 0 else None


def null_blocks(usage_name: str) -> int:
    """What a usage gauge leaves out of its count: the null block (`v1/core/block_pool.py`, get_usage).

    The older gauge is that of versions that had none, or counted it as used.
    """
    return 1 if usage_name == USAGE[0] else 0


def _counters(by_name: Mapping[str, list[MetricSample]]) -> Counters:
    totals = {
        field: _sum(next((by_name[name] for name in names if name in by_name), ())) for field, names in _TOTALS.items()
    }
    return Counters(
        requests_processing=_sum(by_name.get(RUNNING, ())),
        requests_waiting=_sum(by_name.get(WAITING, ())),
        requests_waiting_for_memory=_waiting_for_memory(by_name),
        **totals,
    )


def _waiting_for_memory(by_name: Mapping[str, list[MetricSample]]) -> float | None:
    """Those of the reason "capacity" of engines whose pool is nearly used up.

    The reason alone is any wait for the scheduler, for a place among `--max-num-seqs` too
    (`v1/metrics/loggers.py`, 0.32.0).
    """
    reasons = [sample for sample in by_name.get(BY_REASON, ()) if dict(sample.labels).get("reason") == "capacity"]
    usage = _by_engine(sample for name in USAGE for sample in by_name.get(name, ()))
    if any(usage.get(_engine(sample)) is None for sample in reasons):
        return None
    full = {engine for engine, ratio in usage.items() if (ratio or 0) >= NEARLY_FULL_RATIO}
    return _sum(sample if _engine(sample) in full else replace(sample, value=0.0) for sample in reasons)


def _by_engine(samples: Iterable[MetricSample]) -> dict[int, float | None]:
    return {_engine(sample): real(sample.value) for sample in samples}


def _engine(sample: MetricSample) -> int:
    """The data-parallel index; versions with one engine only have no such label."""
    return plain_number(dict(sample.labels).get("engine"), 4095) or 0


def _sum(samples: Iterable[MetricSample]) -> float | None:
    values = [real(sample.value) for sample in samples]
    known = [value for value in values if value is not None]
    return real(sum(known)) if known and len(known) == len(values) else None


def _number(labels: Mapping[str, str], name: str) -> int | None:
    """A label that holds a number; unset ones hold "None"."""
    value = labels.get(name, "")
    return plain_number(value)


def _real(value: str) -> float | None:
    try:
        return real(float(value))
    except ValueError:
        return None
