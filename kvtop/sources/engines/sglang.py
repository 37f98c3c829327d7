"""SGLang: the one server that tells its weights, its KV pool and its capacity. No I/O here.

Source: SGLang 0.5.23, `srt/entrypoints/http_server.py`. `/server_info` repeats the whole command line, its API key
included: named fields are copied and nothing else. Never asked: `/health`, which generates a token on many versions.
"""

import re
from collections.abc import Mapping, Sequence

from kvtop.domain.engine_report import PoolReport, Rank, RankReport, reported
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.process import Process
from kvtop.domain.server import ModelFacts, ServerReading
from kvtop.planning.commands.python_command import after_interpreter_flags, is_python
from kvtop.sources.endpoints.endpoint_state import state_of
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.reply_fields import first_model, json_of, list_of, object_of, real, text, whole
from kvtop.sources.engines.named_flags import parse_named, port_in
from kvtop.sources.engines.sglang_metrics import SglangMetrics, read_metrics
from kvtop.text import plain_number

NAME = "sglang"
DEFAULT_PORT = 30000
OPENS_OTHER_PORTS = True
INFO, OLD_INFO, METRICS, MODELS = "/server_info", "/get_server_info", "/metrics", "/v1/models"
PATHS = (INFO, OLD_INFO, METRICS, MODELS)
KEYED_PATHS: tuple[str, ...] = (INFO, OLD_INFO, MODELS)
"""Behind `--api-key`; /health and /metrics are not (`add_api_key_middleware`)."""
SELDOM_SECONDS: Mapping[str, float] = {INFO: 5.0, OLD_INFO: 5.0, MODELS: 60.0}

_GIB = 1024**3
ROUNDING_BYTES = _GIB // 100
"""The report has two decimals of GiB."""

_OPTIONS = {
    **{f"--{name}": name for name in ("host", "port", "device", "dtype", "quantization", "revision", "download-dir")},
    **{f"--{name}": name for name in ("kv-cache-dtype", "mem-fraction-static", "context-length", "page-size")},
    **{f"--{name}": name for name in ("max-running-requests", "max-total-tokens", "attention-backend")},
    **{f"--{name}": name for name in ("served-model-name", "cpu-offload-gb", "chunked-prefill-size", "load-format")},
    "--model-path": "model-path",
    "--model": "model-path",
    "--tensor-parallel-size": "tp-size",
    "--tp-size": "tp-size",
    "--tp": "tp-size",
    "--data-parallel-size": "dp-size",
    "--dp-size": "dp-size",
    "--dp": "dp-size",
    "--pipeline-parallel-size": "pp-size",
    "--pp-size": "pp-size",
    "--pp": "pp-size",
}
_SWITCHES = {"--enable-metrics": "enable-metrics", "--trust-remote-code": "trust-remote-code"}
_FROM_ENDPOINT = (
    *("model-path", "dtype", "quantization", "kv-cache-dtype", "mem-fraction-static", "context-length", "page-size"),
    *("max-running-requests", "attention-backend", "tp-size", "dp-size", "pp-size", "enable-metrics", "device"),
)
_TITLE = re.compile(r"sglang::(scheduler|detokenizer|data_parallel_controller|tokenizer_worker)(\S*)")
_INDEX = re.compile(r"_(DP|PP|TP)(\d+)")


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """`python -m sglang.launch_server` or `sglang serve`; schedulers are children of that process."""
    del comm
    return _words(argv) is not None


def _words(argv: Sequence[str]) -> list[str] | None:
    rest = list(argv)
    if rest and is_python(rest[0]):
        rest = after_interpreter_flags(rest[1:])
        if rest[:2] == ["-m", "sglang.launch_server"]:
            return rest[2:]
    program = rest[0].rpartition("/")[2] if rest else ""
    return rest[2:] if program == "sglang" and rest[1:2] == ["serve"] else None


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None: what a file adds is told by the endpoint."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """The options that decide memory."""
    del environ, files
    return parse_named(NAME, _words(argv) or (), _OPTIONS, _SWITCHES)


def port_of(options: LaunchOptions) -> int | None:
    """The port it was told to listen on."""
    return port_in(options, DEFAULT_PORT)


def answers(replies: Mapping[str, Reply]) -> bool:
    """By the owner of its models."""
    return first_model(replies.get(MODELS)).get("owned_by") == "sglang"


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """`/server_info`, its old name only where the new one is not known, and metrics only where they are on."""
    reply = replies.get(INFO)
    if reply is None or reply.status is None:
        return (INFO,)
    paths = [INFO]
    if reply.status == 404:
        paths.append(OLD_INFO)
    told = _info(replies).get("enable_metrics") is True
    if told or (options is not None and options.value("enable-metrics") == "true"):
        paths.append(METRICS)
    return tuple(paths)


def read(known: ServerInputs) -> ServerReading:
    """One server from its saved answers. Copies named fields only; no body is kept."""
    info = _info(known.replies)
    first = known.replies.get(INFO)
    state, hint = state_of(known, known.replies.get(OLD_INFO, first) if first and first.status == 404 else first)
    metrics = read_metrics(known.replies.get(METRICS))
    states = [object_of(row) for row in list_of(info.get("internal_states"))]
    options = _completed(known.options, info)
    model = None if options is None else options.value("model-path")
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        version=text(info.get("version")),
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        model=ModelFacts(name=text(info.get("served_model_name")) or model, path=model),
        launch=options,
        counters=metrics.counters,
        sequence_limit_tokens=whole(info.get("context_length")) or metrics.context_tokens,
        concurrent_sequences_limit=whole(info.get("max_running_requests")),
        pools=_pools(info, states, metrics),
        memory_reports=tuple(report for index, row in enumerate(states) if (report := _memory(index, row)) is not None),
        ranks=tuple(rank for process in known.processes if (rank := rank_of(process)) is not None),
        is_remote=not known.processes,
    )


def _info(replies: Mapping[str, Reply]) -> Mapping[str, object]:
    return object_of(json_of(replies.get(INFO))) or object_of(json_of(replies.get(OLD_INFO)))


def _pools(
    info: Mapping[str, object], states: list[Mapping[str, object]], metrics: SglangMetrics
) -> tuple[PoolReport, ...]:
    """One a data-parallel engine; use is known only where metrics are on."""
    by_index = {pool.engine_index: pool for pool in metrics.pools}
    pools = []
    for index in range(max(len(states), len(by_index), default_count(info))):
        used = by_index.get(index)
        usage = object_of(states[index].get("memory_usage")) if index < len(states) else {}
        capacity_tokens = whole(usage.get("token_capacity")) or whole(info.get("max_total_num_tokens"))
        page_tokens = whole(info.get("page_size")) or (used.block_size_tokens if used else None)
        capacity_tokens = capacity_tokens or (used.capacity_tokens if used else None)
        pools.append(
            PoolReport(
                engine_index=index,
                capacity_tokens=capacity_tokens,
                block_count=capacity_tokens // page_tokens if capacity_tokens and page_tokens else None,
                block_size_tokens=page_tokens,
                used_ratio=used.used_ratio if used else None,
                used_tokens=used.used_tokens if used else None,
                cache_type=text(info.get("kv_cache_dtype")),
                requests_running=used.requests_running if used else None,
                requests_waiting=used.requests_waiting if used else None,
            )
        )
    return tuple(pools)


def default_count(info: Mapping[str, object]) -> int:
    """1 where the server says how many tokens it holds and nothing of its engines; else 0."""
    return 1 if whole(info.get("max_total_num_tokens")) is not None else 0


def _memory(index: int, state: Mapping[str, object]) -> RankReport | None:
    usage = object_of(state.get("memory_usage"))
    graph = usage.get("graph", usage.get("cuda_graph"))
    graphs = [real(part) for part in graph.values()] if isinstance(graph, dict) else [real(graph)]
    graph_bytes = [_bytes(part) for part in graphs]
    weights_bytes, kv_cache_bytes = _bytes(real(usage.get("weight"))), _bytes(real(usage.get("kvcache")))
    if weights_bytes is None and kv_cache_bytes is None:
        return None
    source = f"{INFO} internal_states[{index}].memory_usage, of its first rank"
    sizes = {
        Segment.WEIGHTS: weights_bytes,
        Segment.KV_CACHE: kv_cache_bytes,
        Segment.COMPUTE: None if None in graph_bytes else sum(part for part in graph_bytes if part is not None),
    }
    return RankReport(engine_index=index, memory=reported(sizes, source), rounding_bytes=ROUNDING_BYTES, source=source)


def _bytes(gib: float | None) -> int | None:
    """More than 1 PiB is no memory of one rank."""
    return None if gib is None or gib > 2**20 else round(gib * _GIB)


def _completed(options: LaunchOptions | None, info: Mapping[str, object]) -> LaunchOptions | None:
    """The command line, and what the endpoint says of the options that were left to the engine."""
    told = () if options is None else options.options
    names = {option.name for option in told}
    added = []
    for name in _FROM_ENDPOINT:
        value = info.get(name.replace("-", "_"))
        if name not in names and isinstance(value, str | int | float):
            shown = str(value).lower() if isinstance(value, bool) else text(str(value))
            if shown is not None:
                added.append(LaunchOption(name, shown, Origin.ENDPOINT, INFO))
    if options is None and not added:
        return None
    unknown = () if options is None else options.unknown
    return LaunchOptions(NAME, (*told, *added), unknown)


def rank_of(process: Process) -> Rank | None:
    """The part of a process by the title it gives itself (setproctitle)."""
    title = _TITLE.match(process.argv[0].strip()) if process.argv else None
    if title is None:
        return Rank(process.pid, "api server") if _words(process.argv or ()) is not None else None
    indices = {name: plain_number(number) for name, number in _INDEX.findall(title[2])}
    role = title[1].replace("_", " ")
    return Rank(process.pid, role, indices.get("DP"), indices.get("PP"), indices.get("TP"))
