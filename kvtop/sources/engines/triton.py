"""Triton Inference Server with the TensorRT-LLM backend: the KV pool in blocks, from its metrics port. No I/O here.

Source: triton-inference-server/tensorrtllm_backend, `nv_trt_llm_kv_cache_block_metrics` and `…_request_metrics`.
"""

from collections.abc import Mapping, Sequence

from kvtop.domain.engine_report import PoolReport
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import Counters, ModelFacts, ServerReading
from kvtop.sources.endpoints.endpoint_state import state_of
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.prometheus_text import parse_metrics
from kvtop.sources.endpoints.reply_fields import real, text, whole_product
from kvtop.sources.engines.named_flags import parse_named, port_in

NAME = "triton"
DEFAULT_PORT = 8002
OPENS_OTHER_PORTS = True
METRICS = "/metrics"
PATHS = (METRICS,)
KEYED_PATHS: tuple[str, ...] = ()
SELDOM_SECONDS: Mapping[str, float] = {METRICS: 2.0}

_BLOCKS, _REQUESTS = "nv_trt_llm_kv_cache_block_metrics", "nv_trt_llm_request_metrics"


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """By its program."""
    del comm
    return bool(argv) and argv[0].rpartition("/")[2] == "tritonserver"


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """Where its metrics are."""
    del environ, files
    return parse_named(NAME, argv[1:], {"--metrics-port": "metrics-port", "--http-port": "http-port"})


def port_of(options: LaunchOptions) -> int | None:
    """The metrics port: nothing else is asked."""
    return port_in(options, DEFAULT_PORT, "metrics-port")


def answers(replies: Mapping[str, Reply]) -> bool:
    """Never by a URL: its HTTP port tells nothing of memory."""
    del replies
    return False


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """Its metrics."""
    del replies, options
    return PATHS


def read(known: ServerInputs) -> ServerReading:
    """One server; several models of one server add up to several pools."""
    reply = known.replies.get(METRICS)
    state, hint = state_of(known, reply)
    models = _models(reply)
    pools = tuple(_pool(index, gauges) for index, (_, gauges) in enumerate(sorted(models.items())))
    running = [pool.requests_running for pool in pools if pool.requests_running is not None]
    waiting = [pool.requests_waiting for pool in pools if pool.requests_waiting is not None]
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        model=ModelFacts(name=text(", ".join(sorted(models)))),
        launch=known.options,
        counters=Counters(
            requests_processing=sum(running) if running else None,
            requests_waiting=sum(waiting) if waiting else None,
        ),
        pools=pools,
        is_remote=not known.processes,
    )


def _models(reply: Reply | None) -> dict[str, dict[str, float]]:
    """Gauges by model: "block used", "request active" …"""
    if reply is None or reply.status != 200:
        return {}
    models: dict[str, dict[str, float]] = {}
    for sample in parse_metrics(reply.body.decode("utf-8", "replace"), {_BLOCKS, _REQUESTS}):
        labels, value = dict(sample.labels), real(sample.value)
        kind = (
            f"block {labels.get('kv_cache_block_type')}"
            if sample.name == _BLOCKS
            else f"request {labels.get('request_type')}"
        )
        if value is not None:
            models.setdefault(labels.get("model", ""), {})[kind] = value
    return models


def _pool(index: int, gauges: Mapping[str, float]) -> PoolReport:
    blocks, used, tokens = gauges.get("block max"), gauges.get("block used"), gauges.get("block tokens_per")
    return PoolReport(
        engine_index=index,
        capacity_tokens=whole_product(blocks, tokens),
        block_count=whole_product(blocks),
        block_size_tokens=whole_product(tokens),
        used_ratio=min(1.0, used / blocks) if blocks and used is not None else None,
        requests_running=gauges.get("request active"),
        requests_waiting=gauges.get("request waiting"),
    )
