"""Text Generation Inference: its model, token budget and queue; memory is the driver's total. No I/O here.

In maintenance since December 2025. Source: db931fcf, `router/src/server.rs` and `infer`.
"""

from collections.abc import Mapping, Sequence

from kvtop.domain.engine_report import PoolReport
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import Counters, ModelFacts, ServerReading
from kvtop.sources.endpoints.endpoint_state import state_of
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.prometheus_text import parse_metrics
from kvtop.sources.endpoints.reply_fields import json_of, object_of, real, text, whole
from kvtop.sources.engines.named_flags import parse_named, port_in

NAME = "tgi"
DEFAULT_PORT = 3000
OPENS_OTHER_PORTS = True
INFO, METRICS = "/info", "/metrics"
PATHS = (INFO, METRICS)
KEYED_PATHS: tuple[str, ...] = ()
SELDOM_SECONDS: Mapping[str, float] = {INFO: 10.0}

_NAMES = (
    *("model-id", "revision", "port", "hostname", "quantize", "dtype", "kv-cache-dtype", "num-shard", "sharded"),
    *(
        "max-input-tokens",
        "max-total-tokens",
        "max-batch-total-tokens",
        "max-batch-prefill-tokens",
        "cuda-memory-fraction",
    ),
)
_OPTIONS = {f"--{name}": name for name in _NAMES}
_RUNNING, _WAITING, _BUDGET = "tgi_batch_current_size", "tgi_queue_size", "tgi_batch_max_total_tokens"


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """The launcher; router and shards are its children."""
    del comm
    return bool(argv) and argv[0].rpartition("/")[2] == "text-generation-launcher"


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """The options that decide memory, for showing."""
    del environ, files
    return parse_named(NAME, argv[1:], {**_OPTIONS, "-p": "port"})


def port_of(options: LaunchOptions) -> int | None:
    """The port it was told to listen on."""
    return port_in(options, DEFAULT_PORT)


def answers(replies: Mapping[str, Reply]) -> bool:
    """By the fields of `/info`."""
    return {"model_id", "max_total_tokens", "router"} <= object_of(json_of(replies.get(INFO))).keys()


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """What it is, then how busy it is."""
    del options
    info = replies.get(INFO)
    return PATHS if info is not None and info.status == 200 else (INFO,)


def read(known: ServerInputs) -> ServerReading:
    """One server from its saved answers."""
    state, hint = state_of(known, known.replies.get(INFO))
    info = object_of(json_of(known.replies.get(INFO)))
    gauges = _gauges(known.replies.get(METRICS))
    budget, running, waiting = gauges.get(_BUDGET), gauges.get(_RUNNING), gauges.get(_WAITING)
    told = None if known.options is None else known.options.value("model-id")
    cache_type = None if known.options is None else known.options.value("kv-cache-dtype")
    pool = PoolReport(
        capacity_tokens=None if budget is None else int(budget),
        cache_type=cache_type,
        requests_running=running,
        requests_waiting=waiting,
    )
    model = text(info.get("model_id")) or told
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        version=text(info.get("version")),
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        model=ModelFacts(name=model, path=model),
        launch=known.options,
        counters=Counters(requests_processing=running, requests_waiting=waiting),
        sequence_limit_tokens=whole(info.get("max_total_tokens")),
        concurrent_sequences_limit=whole(info.get("max_concurrent_requests")),
        pools=(pool,) if budget is not None else (),
        is_remote=not known.processes,
    )


def _gauges(reply: Reply | None) -> dict[str, float]:
    if reply is None or reply.status != 200:
        return {}
    samples = parse_metrics(reply.body.decode("utf-8", "replace"), {_RUNNING, _WAITING, _BUDGET})
    return {sample.name: value for sample in samples if (value := real(sample.value)) is not None}
