"""What SGLang's `/metrics` says (it is there with --enable-metrics only): use of the pool, requests, tokens.

Source: SGLang 0.5.23, `srt/metrics/collector.py`. Rank 0 of each engine counts; other ranks repeat it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from kvtop.domain.engine_report import PoolReport
from kvtop.domain.server import Counters
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.prometheus_text import MetricSample, parse_metrics
from kvtop.sources.endpoints.reply_fields import real
from kvtop.text import plain_number

_GAUGES: Mapping[str, str] = {
    "sglang:token_usage": "used_ratio",
    "sglang:num_used_tokens": "used_tokens",
    "sglang:max_total_num_tokens": "capacity_tokens",
    "sglang:page_size": "block_size_tokens",
    "sglang:num_running_reqs": "requests_running",
    "sglang:num_queue_reqs": "requests_waiting",
}
_TOTALS: Mapping[str, str] = {
    "sglang:prompt_tokens_total": "prompt_tokens_total",
    "sglang:generation_tokens_total": "generated_tokens_total",
    "sglang:num_retracted_requests_total": "preemptions_total",
    "sglang:cached_tokens_total": "prefix_hit_tokens_total",
    "sglang:time_to_first_token_seconds_sum": "first_token_seconds_total",
    "sglang:time_to_first_token_seconds_count": "first_token_requests_total",
}
_CONTEXT = "sglang:context_len"
_WANTED = frozenset({*_GAUGES, *_TOTALS, _CONTEXT})
_NO_COUNTERS = Counters()


@dataclass(frozen=True, slots=True)
class SglangMetrics:
    """Pools hold what the gauges say; None where a version has no such series."""

    pools: tuple[PoolReport, ...] = ()
    counters: Counters = _NO_COUNTERS
    context_tokens: int | None = None


def read_metrics(reply: Reply | None) -> SglangMetrics:
    """The series that matter; nothing of a reply that is not 200."""
    if reply is None or reply.status != 200:
        return SglangMetrics()
    found = _KNOWN.get(reply)
    if found is None:
        found = _KNOWN[reply] = _read(reply.body)
    return found


_KNOWN: WeakKeyDictionary[Reply, SglangMetrics] = WeakKeyDictionary()
"""Read once, however many members of an adapter ask; kept as long as the reply itself."""


def _read(body: bytes) -> SglangMetrics:
    engines: dict[int, dict[str, float]] = {}
    totals: dict[str, list[float | None]] = {}
    context_tokens: int | None = None
    for sample in parse_metrics(body.decode("utf-8", "replace"), _WANTED):
        value = real(sample.value)
        if sample.name in _TOTALS:
            totals.setdefault(_TOTALS[sample.name], []).append(value)
        elif _is_first_rank(sample) and value is not None:
            if sample.name == _CONTEXT:
                context_tokens = int(value)
            else:
                engines.setdefault(_engine(sample), {})[_GAUGES[sample.name]] = value
    pools = tuple(_pool(index, gauges) for index, gauges in sorted(engines.items()))
    summed = {name: _sum(values) for name, values in totals.items()}
    counters = Counters(
        requests_processing=_sum(pool.requests_running for pool in pools),
        requests_waiting=_sum(pool.requests_waiting for pool in pools),
        # Every prompt token is looked up in the radix cache.
        prefix_query_tokens_total=summed.get("prompt_tokens_total"),
        **summed,
    )
    return SglangMetrics(pools, counters, context_tokens)


def _is_first_rank(sample: MetricSample) -> bool:
    labels = dict(sample.labels)
    return all(labels.get(name, "0") == "0" for name in ("tp_rank", "pp_rank"))


def _engine(sample: MetricSample) -> int:
    return plain_number(dict(sample.labels).get("dp_rank"), 4095) or 0


def _pool(index: int, gauges: Mapping[str, float]) -> PoolReport:
    ratio = gauges.get("used_ratio")
    return PoolReport(
        engine_index=index,
        capacity_tokens=_int(gauges.get("capacity_tokens")),
        block_size_tokens=_int(gauges.get("block_size_tokens")),
        used_ratio=ratio if ratio is not None and ratio <= 1 else None,
        used_tokens=_int(gauges.get("used_tokens")),
        requests_running=gauges.get("requests_running"),
        requests_waiting=gauges.get("requests_waiting"),
    )


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)


def _sum(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    known = [value for value in listed if value is not None]
    return sum(known) if known and len(known) == len(listed) else None
