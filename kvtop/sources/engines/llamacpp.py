"""llama.cpp's llama-server: what to ask, in which order, and what the answers mean. No I/O here.

Endpoint semantics were measured on b11434. The order matters: `/slots` wakes a sleeping server and keeps one with
`--sleep-idle-seconds` awake for ever, so `/props` is asked first; every scrape of `/metrics` resets the averages that
others read, so only its counters are used and it is asked seldom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kvtop.domain.engine_report import HostedModel
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.server import Counters, ModelFacts, ServerReading, ServerState, Slot
from kvtop.planning.commands.command import process_command
from kvtop.planning.llamacpp.options.parse import config_paths, parse_llama_server
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.prometheus_text import parse_metrics
from kvtop.sources.endpoints.reply_fields import first_model, json_of, list_of, object_of, parsed, real, text, whole
from kvtop.sources.engines.named_flags import port_in

NAME = "llama.cpp"
DEFAULT_PORT = 8080
IK_NAME = IK_SERVER = "ik_llama.cpp"
"""A fork whose program has the same name; it says so in its Server header."""
OPENS_OTHER_PORTS = False
PROPS, SLOTS, METRICS, MODELS = "/props", "/slots", "/metrics", "/v1/models"
PATHS = (PROPS, SLOTS, METRICS, MODELS)
"""Every path this adapter ever asks; all are GET and none loads, wakes or unloads a model as it is used here."""

KEYED_PATHS: tuple[str, ...] = (PROPS, SLOTS, METRICS)
"""Behind `--api-key`; /health and the web page answer everybody (tools/server/server-http.cpp, b11434)."""
SELDOM_SECONDS: Mapping[str, float] = {METRICS: 5.0, MODELS: 60.0}
"""How old an answer may get before it is asked again; other paths are asked every tick."""

_METRIC_FIELDS: Mapping[str, str] = {
    "llamacpp:prompt_tokens_total": "prompt_tokens_total",
    "llamacpp:tokens_predicted_total": "generated_tokens_total",
    "llamacpp:prompt_seconds_total": "prompt_seconds_total",
    "llamacpp:tokens_predicted_seconds_total": "generated_seconds_total",
    "llamacpp:requests_processing": "requests_processing",
    "llamacpp:requests_deferred": "requests_waiting",
    "llamacpp:n_tokens_max": "sequence_tokens_max",
}

SLOTS_MOST = 4096
"""More are not kept: each is a line on a screen and in every export."""

LOCKED_HINT = (
    "the endpoint wants an API key: put it in KVTOP_API_KEY (for another user's server name it with --url too), "
    "or name its file in the configuration"
)


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """Whether a process is a llama-server, by the name of its program, or `llama serve`, which is the same."""
    return bool(argv) and (_words(argv) is not None or comm == "llama-server")


def _words(argv: Sequence[str]) -> tuple[str, ...] | None:
    command = process_command(argv)
    return command.words if command is not None and command.engine == NAME else None


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The config.ini files that it reads."""
    del argv
    return config_paths(environ)


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """Effective options of a process. `argv` includes the program's name; `files` are config.ini paths and texts."""
    words = _words(argv)
    return parse_llama_server(argv[1:] if words is None else words, environ, files)


def port_of(options: LaunchOptions) -> int | None:
    """The port a server was told to listen on."""
    return port_in(options, DEFAULT_PORT)


def answers(replies: Mapping[str, Reply]) -> bool:
    """By the Server header, which even a locked or loading server sends, or by the settings of `/props`."""
    if any(reply.server in {"llama.cpp", IK_SERVER} for reply in replies.values()):
        return True
    return first_model(replies.get(MODELS)).get("owned_by") == "llamacpp" or (
        "default_generation_settings" in object_of(json_of(replies.get(PROPS)))
    )


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """`/props` first: what it says decides whether the rest may be asked."""
    props = replies.get(PROPS)
    if props is None:
        return (PROPS,)
    facts = object_of(json_of(props))
    if not facts:
        return (PROPS,)
    if facts.get("role") == "router":
        return (PROPS, MODELS)
    paths = [PROPS, MODELS]
    sleeps = options is not None and options.value("sleep-idle-seconds") not in {None, "-1"}
    if facts.get("endpoint_slots") is not False and facts.get("is_sleeping") is not True and not sleeps:
        paths.append(SLOTS)
    if facts.get("endpoint_metrics") is True:
        paths.append(METRICS)
    return tuple(paths)


def read(known: ServerInputs) -> ServerReading:
    """One server from its saved answers. Copies named fields only; no body is kept."""
    props = known.replies.get(PROPS)
    facts = object_of(parsed(props)) if props is not None else {}
    state, hint = _state(props, facts, known.options)
    settings = object_of(facts.get("default_generation_settings"))
    engine = IK_NAME if props is not None and props.server == IK_SERVER else NAME
    return ServerReading(
        id=known.id,
        engine=engine,
        state=state,
        version=text(facts.get("build_info")),
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        model=_model(facts, known.replies.get(MODELS), known.options),
        launch=_launch_as(engine, known.options),
        stated=_stated(facts),
        slot_context_tokens=whole(settings.get("n_ctx")) or None,
        slot_count=whole(facts.get("total_slots")),
        slots=_slots(known.replies.get(SLOTS)) if state is ServerState.READY else None,
        counters=_counters(known.replies.get(METRICS)),
        hosted=_hosted(known.replies.get(MODELS)) if facts.get("role") == "router" else None,
        is_proxy=facts.get("role") == "router",
        is_remote=not known.processes,
    )


def _hosted(reply: Reply | None) -> tuple[HostedModel, ...]:
    """The models of a router that are not unloaded. Their whole command lines stand beside, keys included."""
    found = []
    for row in map(object_of, list_of(object_of(json_of(reply)).get("data"))):
        state, meta = text(object_of(row.get("status")).get("value")), object_of(row.get("meta"))
        if state not in {None, "unloaded"}:
            found.append(
                HostedModel(
                    name=text(row.get("id")) or "?",
                    state=state or "",
                    context_tokens=whole(meta.get("n_ctx")) or None,
                    quantization=text(meta.get("ftype")),
                )
            )
    return tuple(found)


def _stated(facts: Mapping[str, object]) -> tuple[LaunchOption, ...]:
    has_metrics = facts.get("endpoint_metrics")
    if not isinstance(has_metrics, bool):
        return ()
    return (LaunchOption("metrics", str(has_metrics).lower(), Origin.ENDPOINT, f"{PROPS} endpoint_metrics"),)


def _launch_as(engine: str, options: LaunchOptions | None) -> LaunchOptions | None:
    """The options under the engine's own name: a fork allocates by other rules, and knows options of its own."""
    return options if options is None or engine == NAME else replace(options, engine=engine, errors=())


def _state(props: Reply | None, facts: Mapping[str, object], options: LaunchOptions | None) -> tuple[ServerState, str]:
    if props is None:
        return ServerState.UNKNOWN, "the endpoint has not been asked yet"
    if props.status is None:
        return ServerState.UNREACHABLE, f"{props.path}: {props.error}"
    if props.status == 503:
        return ServerState.LOADING, "the model is being loaded"
    if props.status in {401, 403}:
        return ServerState.LOCKED, LOCKED_HINT
    if props.status != 200 or not facts:
        reason = props.error or ("and no JSON object" if props.status == 200 else "")
        return ServerState.ERROR, f"{props.path}: status {props.status} {reason}".strip()
    if facts.get("role") == "router":
        return ServerState.READY, "a router: its models run in processes of their own, shown beside it"
    if facts.get("is_sleeping") is True:
        return ServerState.SLEEPING, "asleep: the next request loads the model again; kvtop does not wake it"
    if options is not None and options.value("sleep-idle-seconds") not in {None, "-1"}:
        return ServerState.READY, "slots are not asked: that would keep it from going to sleep"
    if facts.get("endpoint_slots") is False:
        return ServerState.READY, "started with --no-slots: how full the cache is cannot be known"
    return ServerState.READY, ""


def _slots(reply: Reply | None) -> tuple[Slot, ...] | None:
    if reply is None or reply.status != 200:
        return None
    rows = json_of(reply)
    if not isinstance(rows, list) or len(rows) > SLOTS_MOST:
        return None
    slots = []
    for row in rows:
        fields = object_of(row)
        number = whole(fields.get("id"))
        if number is None:
            return None
        processing = fields.get("is_processing")
        following = fields.get("next_token")
        first = object_of(following[0]) if isinstance(following, list) and following else {}
        slots.append(
            Slot(
                id=number,
                context_tokens=whole(fields.get("n_ctx")),
                # Absent until the slot's first task, and then prompt and generated tokens together: an empty cache.
                used_tokens=whole(fields.get("n_prompt_tokens", 0)),
                is_processing=processing if isinstance(processing, bool) else None,
                decoded_tokens=whole(first.get("n_decoded")),
                remaining_tokens=whole(first.get("n_remain")),  # -1, a request without a limit, is none
                task_id=whole(fields.get("id_task")),
                prompt_read_tokens=whole(fields.get("n_prompt_tokens_processed")),
            )
        )
    return tuple(slots)


def _counters(reply: Reply | None) -> Counters:
    if reply is None or reply.status != 200:
        return Counters()
    found = {
        _METRIC_FIELDS[sample.name]: real(sample.value)
        for sample in parse_metrics(reply.body.decode("utf-8", "replace"), _METRIC_FIELDS)
    }
    return Counters(**found)


def _model(facts: Mapping[str, object], reply: Reply | None, options: LaunchOptions | None) -> ModelFacts:
    path = text(facts.get("model_path"))
    if facts.get("role") == "router":
        path = None  # it says "none"
    elif path is None and options is not None:
        path = options.value("model")
    meta = object_of(first_model(reply).get("meta"))
    return ModelFacts(
        name=text(facts.get("model_alias")) or path,
        path=path,
        quantization=text(facts.get("model_ftype")),
        parameters=whole(meta.get("n_params")),
        tensor_bytes=whole(meta.get("size")),
        trained_context_tokens=whole(meta.get("n_ctx_train")),
    )
