"""TensorRT-LLM's own server (`trtllm-serve`): its KV pool in blocks. No I/O here.

Metrics are under `/prometheus/metrics`. Never asked: its `/metrics`, where each reader takes statistics away from the
next one. Source: NVIDIA/TensorRT-LLM, `tensorrt_llm/serve/openai_server.py` and its list of Prometheus names.
"""

from collections.abc import Mapping, Sequence

from kvtop.domain.engine_report import PoolReport
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.server import Counters, ModelFacts, ServerReading
from kvtop.planning.commands.python_command import after_interpreter_flags, is_python
from kvtop.sources.endpoints.endpoint_state import state_of
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.prometheus_text import parse_metrics
from kvtop.sources.endpoints.reply_fields import first_model, json_of, object_of, real, text, whole_product
from kvtop.sources.engines.named_flags import parse_named, port_in
from kvtop.sources.redaction.redact import clean_value

NAME = "tensorrt-llm"
DEFAULT_PORT = 8000
OPENS_OTHER_PORTS = True
VERSION, MODELS, METRICS = "/version", "/v1/models", "/prometheus/metrics"
PATHS = (VERSION, MODELS, METRICS)
KEYED_PATHS: tuple[str, ...] = ()
SELDOM_SECONDS: Mapping[str, float] = {VERSION: 10.0, MODELS: 60.0}

_NAMES = (
    *("port", "host", "backend", "tp-size", "pp-size", "ep-size", "max-batch-size", "max-num-tokens", "max-seq-len"),
    *("kv-cache-free-gpu-memory-fraction", "kv-cache-dtype", "max-beam-width"),
)
_OPTIONS = {f"--{name}": name for name in _NAMES} | {"--free-gpu-memory-fraction": "kv-cache-free-gpu-memory-fraction"}
_BLOCKS, _BLOCK_TOKENS = "trtllm_kv_cache_max_blocks", "trtllm_kv_cache_tokens_per_block"
_USE, _RUNNING, _WAITING = (
    "trtllm_kv_cache_utilization",
    "trtllm_num_requests_running",
    "trtllm_num_requests_waiting",
)


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """By its program; ranks are its children."""
    del comm
    return _words(argv) is not None


def _words(argv: Sequence[str]) -> list[str] | None:
    rest = list(argv)
    if rest and is_python(rest[0]):
        rest = after_interpreter_flags(rest[1:])
    if not rest or rest[0].rpartition("/")[2] != "trtllm-serve":
        return None
    return rest[2:] if rest[1:2] == ["serve"] else rest[1:]


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """The options that decide memory, for showing; the model is the first word."""
    del environ, files
    words = _words(argv) or []
    options = parse_named(NAME, words, _OPTIONS)
    if not words or words[0].startswith("-"):
        return options
    model = LaunchOption("model", clean_value("model", words[0]), Origin.ARGV)
    return LaunchOptions(NAME, (model, *options.options), options.unknown)


def port_of(options: LaunchOptions) -> int | None:
    """The port it was told to listen on."""
    return port_in(options, DEFAULT_PORT)


def answers(replies: Mapping[str, Reply]) -> bool:
    """By the owner of its models."""
    return first_model(replies.get(MODELS)).get("owned_by") == "tensorrt_llm"


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """What it is, then its pool."""
    del options
    version = replies.get(VERSION)
    return PATHS if version is not None and version.status == 200 else (VERSION,)


def read(known: ServerInputs) -> ServerReading:
    """One server from its saved answers."""
    state, hint = state_of(known, known.replies.get(VERSION))
    told = None if known.options is None else known.options.value("model")
    gauges = _gauges(known.replies.get(METRICS))
    running, waiting = gauges.get(_RUNNING), gauges.get(_WAITING)
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        version=text(object_of(json_of(known.replies.get(VERSION))).get("version")),
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        model=ModelFacts(name=text(first_model(known.replies.get(MODELS)).get("id")) or told, path=told),
        launch=known.options,
        counters=Counters(requests_processing=running, requests_waiting=waiting),
        pools=(_pool(gauges),) if gauges else (),
        is_remote=not known.processes,
    )


def _pool(gauges: Mapping[str, float]) -> PoolReport:
    blocks, tokens, ratio = gauges.get(_BLOCKS), gauges.get(_BLOCK_TOKENS), gauges.get(_USE)
    return PoolReport(
        capacity_tokens=whole_product(blocks, tokens),
        block_count=whole_product(blocks),
        block_size_tokens=whole_product(tokens),
        used_ratio=ratio if ratio is not None and ratio <= 1 else None,
        requests_running=gauges.get(_RUNNING),
        requests_waiting=gauges.get(_WAITING),
    )


def _gauges(reply: Reply | None) -> dict[str, float]:
    if reply is None or reply.status != 200:
        return {}
    samples = parse_metrics(reply.body.decode("utf-8", "replace"), {_BLOCKS, _BLOCK_TOKENS, _USE, _RUNNING, _WAITING})
    return {sample.name: value for sample in samples if (value := real(sample.value)) is not None}
