"""vLLM's OpenAI server: what to ask, and what the answers mean. No I/O here.

Measured on 0.32.0; names of metrics back to 0.6. `/metrics`, `/version` and `/health` stay open when the server has an
API key. Not asked although it would tell more: `/server_info`, whose first answer makes the server run programs to
describe its machine (vllm/entrypoints/serve/dev/server_info, `collect_env`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kvtop.domain.engine_report import Rank
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.process import Process
from kvtop.domain.server import ModelFacts, ServerReading, ServerState
from kvtop.planning.commands.command import process_command
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.reply_fields import first_model, json_of, object_of, real, text, whole
from kvtop.sources.engines.named_flags import port_in
from kvtop.sources.engines.vllm_metrics import VllmMetrics, read_metrics
from kvtop.text import plain_number

NAME = "vllm"
DEFAULT_PORT = 8000
OPENS_OTHER_PORTS = True
METRICS, MODELS, VERSION, HEALTH = "/metrics", "/v1/models", "/version", "/health"
LOAD, IS_SLEEPING = "/load", "/is_sleeping"
PATHS = (METRICS, MODELS, VERSION, HEALTH, LOAD, IS_SLEEPING)
KEYED_PATHS: tuple[str, ...] = (MODELS,)
"""Behind `--api-key`: only what begins with /v1 (`AuthenticationMiddleware`)."""
SELDOM_SECONDS: Mapping[str, float] = {MODELS: 60.0, VERSION: 60.0, HEALTH: 5.0, IS_SLEEPING: 5.0}

_TITLE = re.compile(r"\w*::(EngineCore|Worker|APIServer|DPCoordinator)((?:_[A-Z]*\d+)*)")
_INDEX = re.compile(r"_([A-Z]*)(\d+)")
_ROLES = {"EngineCore": "engine core", "Worker": "worker", "APIServer": "api server", "DPCoordinator": "coordinator"}


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """`vllm serve`, or its module under Python. Workers and engine cores are children of that process."""
    del comm
    return _words(argv) is not None


def _words(argv: Sequence[str]) -> tuple[str, ...] | None:
    command = process_command(argv)
    return command.words if command is not None and command.engine == "vllm" else None


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The file of `--config`, relative to its working directory."""
    del environ
    path = parse_serve_options(_words(argv) or ()).value("config")
    return () if path is None else (path,)


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """Effective options: the `--config` file, then the command line; and variables that decide memory."""
    return parse_serve_options(_words(argv) or (), config_yaml=files[0][1] if files else None, environ=environ)


def port_of(options: LaunchOptions) -> int | None:
    """The port it was told to listen on."""
    return port_in(options, DEFAULT_PORT)


def answers(replies: Mapping[str, Reply]) -> bool:
    """By the owner of its models; where they are locked, by the form of its refusal beside an open `/version`."""
    if first_model(replies.get(MODELS)).get("owned_by") == "vllm":
        return True
    models, version = replies.get(MODELS), replies.get(VERSION)
    return (
        models is not None
        and models.status == 401
        and models.body == b'{"error":"Unauthorized"}'
        and text(object_of(json_of(version)).get("version")) is not None
    )


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """`/metrics` first; the rest only from a server that answers, and what is off by default only where it is on."""
    metrics = replies.get(METRICS)
    if metrics is None or metrics.status is None:
        return (METRICS,)
    paths = [METRICS, HEALTH, VERSION, MODELS]
    found = read_metrics(metrics)
    if options is not None and not found.has_engine:
        if options.value("enable-server-load-tracking") == "true":
            paths.append(LOAD)
        if options.value("enable-sleep-mode") == "true":
            paths.append(IS_SLEEPING)
    return tuple(paths)


def read(known: ServerInputs) -> ServerReading:
    """One server from its saved answers. Copies named fields only; no body is kept."""
    found = read_metrics(known.replies.get(METRICS))
    sleep_level = _sleep_level(found, known.replies.get(IS_SLEEPING))
    state, hint = _state(known, sleep_level)
    model = first_model(known.replies.get(MODELS))
    limit_tokens = whole(model.get("max_model_len"))
    counters = found.counters
    if counters.requests_processing is None:
        load = real(object_of(json_of(known.replies.get(LOAD))).get("server_load"))
        counters = replace(counters, requests_processing=load)
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        version=text(object_of(json_of(known.replies.get(VERSION))).get("version")),
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        model=_model(model, found, known.options),
        launch=_completed(known.options, limit_tokens, text(model.get("root"))),
        stated=found.stated,
        counters=counters,
        sequence_limit_tokens=limit_tokens,
        concurrent_sequences_limit=_sequence_limit(known.options),
        pools=found.pools,
        ranks=_ranks(known.processes),
        sleep_level=sleep_level,
        is_remote=not known.processes,
    )


def _ranks(processes: Sequence[Process]) -> tuple[Rank, ...]:
    """Ranks by pid; a worker whose title does not say its data-parallel engine belongs to that of its parent."""
    found = {process.pid: rank for process in processes if (rank := rank_of(process)) is not None}
    parents = {process.pid: process.ppid for process in processes}
    for pid, rank in found.items():
        above = found.get(parents[pid] or 0)
        if rank.role == "worker" and rank.data_parallel_index is None and above is not None:
            found[pid] = replace(rank, data_parallel_index=above.data_parallel_index)
    return tuple(found.values())


def rank_of(process: Process) -> Rank | None:
    """The part of a process by the title it gives itself; the process that was started is the API server.

    Source: vLLM 0.32.0, `utils/system_utils.py` (set_process_title) and `v1/executor/multiproc_executor.py`.
    """
    if not process.argv:
        return None
    title = _TITLE.fullmatch(process.argv[0].strip())
    if title is None:
        return Rank(process.pid, "api server") if _words(process.argv) is not None else None
    indices = {name: plain_number(number) for name, number in _INDEX.findall(title[2])}
    return Rank(process.pid, _ROLES[title[1]], indices.get("DP"), indices.get("PP"), indices.get("TP"))


def _state(known: ServerInputs, sleep_level: int | None) -> tuple[ServerState, str]:
    metrics, health = known.replies.get(METRICS), known.replies.get(HEALTH)
    if metrics is None:
        return ServerState.UNKNOWN, "the endpoint has not been asked yet"
    if metrics.status is None:
        if known.is_listening is False:
            return ServerState.LOADING, "it is not listening yet: the model is being loaded, or the graphs captured"
        return ServerState.UNREACHABLE, f"{metrics.path}: {metrics.error}"
    if health is not None and health.status == 503:
        return ServerState.ERROR, "the engine behind the endpoint has died: restart the server and read its log"
    models = known.replies.get(MODELS)
    locked = models is not None and models.status in {401, 403}
    if metrics.status in {401, 403} or (locked and metrics.status != 200):
        return ServerState.LOCKED, "the endpoint wants an API key: put it in KVTOP_API_KEY"
    if metrics.status != 200 and (models is None or models.status != 200):
        return ServerState.ERROR, f"{metrics.path}: status {metrics.status} {metrics.error}".strip()
    if sleep_level:
        kept = "its weights are in host memory" if sleep_level == 1 else "its weights are dropped"
        return ServerState.SLEEPING, f"asleep, and {kept}; kvtop does not wake it"
    if metrics.status != 200 or not read_metrics(metrics).has_engine:
        return ServerState.READY, "its metrics are off (--disable-log-stats): how full the cache is cannot be known"
    if locked:
        return ServerState.READY, "the list of models wants an API key (KVTOP_API_KEY): max_model_len is not known"
    return ServerState.READY, ""


def _sleep_level(found: VllmMetrics, reply: Reply | None) -> int | None:
    """From the metric; older versions say only whether, and level 1 is their default."""
    if found.sleep_level is not None:
        return found.sleep_level
    sleeping = object_of(json_of(reply)).get("is_sleeping")
    return int(sleeping) if isinstance(sleeping, bool) else None


def _model(row: Mapping[str, object], found: VllmMetrics, options: LaunchOptions | None) -> ModelFacts:
    told = None if options is None else options.value("model")
    name = text(row.get("id")) or found.model_name or told
    return ModelFacts(name=name, path=text(row.get("root")) or told)


def _completed(options: LaunchOptions | None, limit_tokens: int | None, root: str | None) -> LaunchOptions | None:
    """The options with what the endpoint says of those that were left to the engine."""
    if options is None:
        return None
    added = []
    if options.value("model") is None and root is not None:
        added.append(LaunchOption("model", root, Origin.ENDPOINT, f"{MODELS} root"))
    if limit_tokens is not None and options.value("max-model-len") in {None, "-1", "auto"}:
        added.append(LaunchOption("max-model-len", str(limit_tokens), Origin.ENDPOINT, f"{MODELS} max_model_len"))
    if not added:
        return options
    names = {option.name for option in added}
    kept = tuple(option for option in options.options if option.name not in names)
    return replace(options, options=(*kept, *added))


def _sequence_limit(options: LaunchOptions | None) -> int | None:
    return None if options is None else plain_number(options.value("max-num-seqs"))
