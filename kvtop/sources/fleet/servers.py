"""Servers of a cluster: vLLM's own metrics, and servers that a kvtop exporter explains.

vLLM puts its blocks into labels, which no query language turns into numbers: they are read here.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from kvtop.domain.device import Device
from kvtop.domain.engine_report import REPORTED, PoolReport, RankReport, reported
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.server import Counters, ModelFacts, ServerReading, ServerState
from kvtop.sources.engines.vllm_metrics import blocks_of_one, null_blocks
from kvtop.sources.engines.vllm_stated import stated_options
from kvtop.sources.fleet.cards import STALE_SECONDS, SyntheticPids, server_id
from kvtop.sources.fleet.grouping import NO_ROWS, Rows, grouped
from kvtop.sources.fleet.series import Series
from kvtop.text import INT64_MAX, plain_number

CACHE = "vllm:cache_config_info"
USED = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
PROMPT = ("vllm:prompt_tokens_total", "vllm:prompt_tokens")
GENERATED = ("vllm:generation_tokens_total", "vllm:generation_tokens")
PREEMPTIONS = ("vllm:num_preemptions_total", "vllm:num_preemptions")
WAITING_BY_REASON = "vllm:num_requests_waiting_by_reason"
PREFIX_QUERIES = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_queries")
PREFIX_HITS = ("vllm:prefix_cache_hits_total", "vllm:prefix_cache_hits")
VLLM_NAMES = (
    *(CACHE, *USED, RUNNING, WAITING, *PROMPT, *GENERATED),
    *(*PREEMPTIONS, WAITING_BY_REASON, *PREFIX_QUERIES, *PREFIX_HITS),
)
GENERATED_RATE, PROMPT_RATE = "vllm:generation_tokens per second", "vllm:prompt_tokens per second"
"""Names that kvtop gives to the answers of `rate()`, which have none."""
INFO, SEGMENTS = "kvtop_server_info", "kvtop_server_memory_bytes"
OLD_SEGMENTS = "kvtop_process_memory_bytes"
"""As exporters of version 0.1 call it; newer ones have both for a while."""
CAPACITY, TOKENS = "kvtop_kv_cache_capacity_tokens", "kvtop_kv_cache_used_tokens"
RATIO, UP = "kvtop_kv_cache_used_ratio", "kvtop_server_up"
_INSIDE = frozenset({"127.0.0.1", "localhost", "0.0.0.0", "[::1]", ""})
_BY_SEGMENT = {
    **{segment.value: segment for segment in REPORTED},
    "state": Segment.RECURRENT,
}


def vllm_servers(
    series: Mapping[str, Sequence[Series]], devices: Sequence[Device], synthetic_pids: SyntheticPids
) -> list[ServerReading]:
    """One server a pod, or an instance where there are no pods; several engines of one are its pools."""
    owners = grouped(series, (*VLLM_NAMES, GENERATED_RATE, PROMPT_RATE), _owner)
    cards_of: dict[int, list[Device]] = {}
    for device in devices:
        for pid in {row.pid for row in device.processes or ()}:
            cards_of.setdefault(pid, []).append(device)
    readings = []
    for owner in sorted(name for name, rows in owners.items() if any(it in rows for it in (CACHE, *USED))):
        rows, pid = owners[owner], synthetic_pids.of(owner)
        cards = cards_of.get(pid, [])
        pools = tuple(_pools(rows))
        model = _model(rows)
        readings.append(
            ServerReading(
                id=owner,
                engine="vllm",
                state=ServerState.READY,
                pids=(pid,) if cards else (),
                model=ModelFacts(name=model, path=model),
                launch=_launch(model, pools, len(cards)),
                stated=_stated(rows),
                counters=Counters(
                    prompt_tokens_total=_sum(rows, PROMPT),
                    generated_tokens_total=_sum(rows, GENERATED),
                    requests_processing=_sum(rows, (RUNNING,)),
                    requests_waiting=_sum(rows, (WAITING,)),
                    requests_waiting_for_memory=_waiting_for_memory(rows),
                    preemptions_total=_sum(rows, PREEMPTIONS),
                    prefix_query_tokens_total=_sum(rows, PREFIX_QUERIES),
                    prefix_hit_tokens_total=_sum(rows, PREFIX_HITS),
                    prompt_tokens_per_second=_sum(rows, (PROMPT_RATE,)),
                    generated_tokens_per_second=_sum(rows, (GENERATED_RATE,)),
                ),
                pools=pools,
                memory_reports=tuple(_pool_reports(pools)) if cards else (),
                is_remote=True,
            )
        )
    return readings


def _waiting_for_memory(rows: Rows) -> float | None:
    waiting = [it.value for it in rows.get(WAITING_BY_REASON, ()) if it.labels.get("reason") == "capacity"]
    return sum(waiting) if waiting else None


def _pool_reports(pools: Iterable[PoolReport]) -> Iterable[RankReport]:
    """What vLLM 0.32 says a rank's pool was cut from."""
    for pool in pools:
        if pool.budget_bytes is not None:
            source = f"kv_cache_memory_bytes of {CACHE}, of each rank"
            memory = reported({Segment.KV_CACHE: pool.budget_bytes}, source)
            yield RankReport(engine_index=pool.engine_index, memory=memory, source=source)


def deduplicate(told: Sequence[ServerReading], own: Sequence[ServerReading]) -> list[ServerReading]:
    """A server that both its host's kvtop and its own metrics tell of is taken once: the split of the one, with the
    requests and pools of the other. It is the same where the address that is scraped is that of the server."""
    by_place = {_place(it): it for it in told}
    merged = {it.id: it for it in told}
    alone = []
    for it in own:
        explained = by_place.get(it.id)
        if explained is None:
            alone.append(it)
        else:
            pools = it.pools or explained.pools
            merged[explained.id] = replace(explained, counters=it.counters, pools=pools)
    return [*alone, *merged.values()]


def _place(it: ServerReading) -> str:
    """HOST:PORT of a server that a kvtop told of: "n1 127.0.0.1:8000" can be scraped at n1:8000."""
    machine, _, name = it.id.partition(" ")
    host, _, port = name.rpartition(":")
    return f"{machine if host in _INSIDE else host}:{port}"


def with_age(
    readings: Iterable[ServerReading],
    series: Mapping[str, Sequence[Series]],
    now: float,
    scraped: Mapping[str, float],
    stale_seconds: float = STALE_SECONDS,
) -> list[ServerReading]:
    """The readings; those whose target was last scraped long ago say so, and are not called ready."""
    target_of = {_owner(it): it.target for name in (CACHE, *USED) for it in series.get(name, ())}
    target_of |= {server_id(it): it.target for it in series.get(INFO, ())}
    aged = []
    for reading in readings:
        age_seconds = now - scraped.get(target_of.get(reading.id, ""), now)
        if age_seconds > stale_seconds:
            hint = f"old: last scraped {age_seconds:.0f} s ago"
            aged.append(replace(reading, state=ServerState.UNKNOWN, hint=hint))
        else:
            aged.append(reading)
    return aged


def kvtop_servers(series: Mapping[str, Sequence[Series]], synthetic_pids: SyntheticPids) -> list[ServerReading]:
    """Servers as another host's kvtop explains them: its segments are reports here."""
    readings = []
    servers = grouped(series, (UP, SEGMENTS, OLD_SEGMENTS, CAPACITY, TOKENS, RATIO), server_id)
    for it in series.get(INFO, ()):
        own = server_id(it)
        rows = servers.get(own, NO_ROWS)
        up = [row.value for row in rows.get(UP, ())]
        readings.append(
            ServerReading(
                id=own,
                engine=it.label("engine") or "unknown",
                state=ServerState.UNREACHABLE if up == [0.0] else ServerState.READY,
                version=it.label("version"),
                hint="its endpoint does not answer the kvtop beside it" if up == [0.0] else "",
                pids=(synthetic_pids.of(own),),
                model=ModelFacts(name=it.label("model"), quantization=it.label("weight_quant")),
                pools=tuple(_told_pool(rows, it.label("kv_type_k"))),
                memory_reports=tuple(_reports(rows)),
                is_remote=True,
            )
        )
    return sorted(readings, key=lambda reading: reading.id)


def lost_servers(
    seen: Iterable[Series],
    present: Iterable[ServerReading],
    down: Mapping[str, str],
    targets: Collection[str] | None = None,
) -> list[ServerReading]:
    """Servers that were there within the last hour and do not answer any more. `down`: target -> why it fails.

    `targets` are all that are scraped now; None where that is not known. A server whose target is not among them was
    taken away, by a rollout or a smaller replica count, and is no loss.
    """
    known = {reading.id for reading in present}
    lost: dict[str, ServerReading] = {}
    for it in seen:
        own = server_id(it) if it.name == INFO or it.label("server", "exported_server") else _owner(it)
        if own in known or (targets is not None and it.target not in targets):
            continue
        why = down.get(it.target, "it has left no metrics for five minutes")
        engine = it.label("engine") if it.name == INFO else "vllm"
        lost[own] = ServerReading(
            id=own,
            engine=engine or "unknown",
            state=ServerState.UNREACHABLE,
            hint=f"seen within the last hour, but {why}",
            model=ModelFacts(name=it.label("model_name", "model")),
            is_remote=True,
        )
    return [lost[name] for name in sorted(lost)]


def _owner(it: Series) -> str:
    return it.pod or it.target


def _pools(owned: Rows) -> Iterable[PoolReport]:
    engines: dict[str, dict[str, Series]] = {}
    for name in (CACHE, *USED, RUNNING, WAITING):
        for it in owned.get(name, ()):
            engines.setdefault(it.labels.get("engine", "0"), {})[name] = it
    for index, engine in enumerate(sorted(engines)):
        rows = engines[engine]
        cache = rows.get(CACHE)
        blocks = blocks_of_one(_label_number(cache, "num_gpu_blocks"), len(engines))
        block_tokens, capacity = _label_number(cache, "block_size"), _label_number(cache, "kv_cache_size_tokens")
        told_by = next((name for name in USED if name in rows), "")
        used = rows[told_by].value if told_by else None
        yield PoolReport(
            engine_index=index,
            capacity_tokens=capacity if capacity is not None else _product(blocks, block_tokens),
            block_count=blocks,
            block_size_tokens=block_tokens,
            budget_bytes=_label_number(cache, "kv_cache_memory_bytes"),
            used_ratio=used if used is not None and 0 <= used <= 1 else None,
            cache_type=cache.label("cache_dtype") if cache is not None else None,
            requests_running=rows[RUNNING].value if RUNNING in rows else None,
            requests_waiting=rows[WAITING].value if WAITING in rows else None,
            null_blocks=null_blocks(told_by),
        )


def _label_number(it: Series | None, name: str) -> int | None:
    return None if it is None else plain_number(it.labels.get(name))


def _product(one: int | None, other: int | None) -> int | None:
    product = None if one is None or other is None else one * other
    return product if product is not None and product <= INT64_MAX else None


def _sum(rows: Rows, names: Sequence[str]) -> float | None:
    for name in names:
        values = [it.value for it in rows.get(name, ())]
        if values and math.isfinite(sum(values)):
            return sum(values)
    return None


def _model(rows: Rows) -> str | None:
    named = (it.label("model_name") for name in (CACHE, *USED, *VLLM_NAMES) for it in rows.get(name, ()))
    return next((name for name in named if name), None)


def _stated(rows: Rows) -> tuple[LaunchOption, ...]:
    return next((stated_options(it.labels) for it in rows.get(CACHE, ())), ())


def _launch(model: str | None, pools: Sequence[PoolReport], cards: int) -> LaunchOptions | None:
    """What metrics tell of the launch. One rank a card is assumed: tensor parallel is not among vLLM's metrics.

    None where its cards are not known: without the number of ranks every figure would be a guess.
    """
    if model is None or cards == 0:
        return None
    options = [LaunchOption("model", model, Origin.ENDPOINT, "model_name of its metrics")]
    if cards > 1:
        options.append(
            LaunchOption("tensor-parallel-size", str(cards), Origin.ASSUMED, "one rank on each of its cards")
        )
    stored = next((pool.cache_type for pool in pools if pool.cache_type is not None), None)
    if stored is not None:
        options.append(LaunchOption("kv-cache-dtype", stored, Origin.ENDPOINT, CACHE))
    return LaunchOptions("vllm", tuple(options))


def _told_pool(rows: Rows, cache_type: str | None) -> Iterable[PoolReport]:
    def value(name: str) -> float | None:
        return next((it.value for it in rows.get(name, ())), None)

    capacity, tokens, ratio = value(CAPACITY), value(TOKENS), value(RATIO)
    if capacity is not None or ratio is not None:
        yield PoolReport(
            capacity_tokens=None if capacity is None else round(capacity),
            used_tokens=None if tokens is None else round(tokens),
            used_ratio=ratio,
            cache_type=cache_type,
        )


def _reports(rows: Rows) -> Iterable[RankReport]:
    devices: dict[str, dict[Segment, int | None]] = {}
    for it in rows.get(SEGMENTS, ()) or rows.get(OLD_SEGMENTS, ()):
        field = _BY_SEGMENT.get(it.labels.get("segment", ""))
        if field is not None:
            device = f"{it.host}:{it.label('device', 'exported_device') or '?'}"
            devices.setdefault(device, {})[field] = it.whole
    source = "the kvtop exporter on that host, which computes or estimates it"
    for device, sizes in sorted(devices.items()):
        yield RankReport(device_id=device, memory=reported(sizes, source), source=source)
