"""llama.cpp's llama-server: what to ask, in which order, and what the answers mean. No I/O here.

Endpoint semantics were measured on b11434. The order matters: `/slots` wakes a sleeping server and keeps one with
`--sleep-idle-seconds` awake for ever, so `/props` is asked first; every scrape of `/metrics` resets the averages that
others read, so only its counters are used and it is asked seldom.
"""

import json
import posixpath
import re
from collections.abc import Mapping, Sequence

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import Counters, ModelFacts, ServerReading, ServerState, Slot
from kvtop.planning.llamacpp.options import parse_llama_server
from kvtop.sources.http import Reply
from kvtop.sources.prometheus_text import parse_metrics
from kvtop.sources.redaction import clean

NAME = "llama.cpp"
DEFAULT_PORT = 8080
PROPS, SLOTS, METRICS, MODELS = "/props", "/slots", "/metrics", "/v1/models"
PATHS = (PROPS, SLOTS, METRICS, MODELS)
"""Every path this adapter ever asks; all are GET and none loads, wakes or unloads a model as it is used here."""

SELDOM_SECONDS: Mapping[str, float] = {METRICS: 5.0, MODELS: 60.0}
"""How old an answer may get before it is asked again; other paths are asked every tick."""

_PROGRAM = re.compile(r"llama-server(?:-[\w.-]+)?(?:\.exe)?$")
_METRIC_FIELDS: Mapping[str, str] = {
    "llamacpp:prompt_tokens_total": "prompt_tokens_total",
    "llamacpp:tokens_predicted_total": "generated_tokens_total",
    "llamacpp:prompt_seconds_total": "prompt_seconds_total",
    "llamacpp:tokens_predicted_seconds_total": "generated_seconds_total",
    "llamacpp:requests_processing": "requests_processing",
    "llamacpp:requests_deferred": "requests_waiting",
    "llamacpp:n_tokens_max": "sequence_tokens_max",
}

LOCKED_HINT = (
    "the endpoint wants an API key: put it in KVTOP_API_KEY (for another user's server name it with --url too), "
    "or name its file in the configuration"
)


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """Whether a process is a llama-server, by the name of its program."""
    return bool(argv) and (_PROGRAM.fullmatch(posixpath.basename(argv[0])) is not None or comm == "llama-server")


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """Effective options of a process. `argv` includes the program's name; `files` are config.ini paths and texts."""
    return parse_llama_server(argv[1:], environ, files)


def port_of(options: LaunchOptions) -> int:
    """The port a server was told to listen on."""
    value = options.value("port")
    return int(value) if value is not None and value.isdigit() else DEFAULT_PORT


def wanted(props: Reply | None, options: LaunchOptions | None) -> tuple[str, ...]:
    """The paths worth asking next, given the answer to `/props` (None: not asked yet)."""
    if props is None:
        return (PROPS,)
    facts = _object(props)
    if props.status != 200 or facts is None or facts.get("role") == "router":
        return ()
    paths = [MODELS]
    sleeps = options is not None and options.value("sleep-idle-seconds") not in {None, "-1"}
    if facts.get("endpoint_slots") is not False and facts.get("is_sleeping") is not True and not sleeps:
        paths.append(SLOTS)
    if facts.get("endpoint_metrics") is True:
        paths.append(METRICS)
    return tuple(paths)


def read(
    server_id: str, url: str | None, replies: Mapping[str, Reply], options: LaunchOptions | None, pids: tuple[int, ...]
) -> ServerReading:
    """One server from its saved answers. Copies named fields only; no body is kept."""
    props = replies.get(PROPS)
    facts = (_object(props) if props is not None else None) or {}
    state, hint = _state(props, facts, options)
    settings = _dict(facts.get("default_generation_settings"))
    slots = _slots(replies.get(SLOTS)) if state is ServerState.READY else None
    context_tokens = _int(settings.get("n_ctx")) or None
    return ServerReading(
        id=server_id,
        engine=NAME,
        state=state,
        version=_text(facts.get("build_info")),
        url=url,
        hint=hint,
        pids=pids,
        model=_model(facts, replies.get(MODELS), options),
        launch=options,
        slot_context_tokens=context_tokens,
        slot_count=_int(facts.get("total_slots")),
        slots=slots,
        counters=_counters(replies.get(METRICS)),
        is_remote=not pids,
    )


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
        return ServerState.ERROR, f"{props.path}: status {props.status} {props.error}".strip()
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
    rows = _json(reply)
    if not isinstance(rows, list):
        return None
    slots = []
    for row in rows:
        fields = _dict(row)
        number = _int(fields.get("id"))
        if number is None:
            return None
        processing = fields.get("is_processing")
        following = fields.get("next_token")
        first = _dict(following[0]) if isinstance(following, list) and following else {}
        slots.append(
            Slot(
                id=number,
                context_tokens=_int(fields.get("n_ctx")),
                # Absent until the slot's first task, and then prompt and generated tokens together: an empty cache.
                used_tokens=_int(fields.get("n_prompt_tokens", 0)),
                is_processing=processing if isinstance(processing, bool) else None,
                decoded_tokens=_int(first.get("n_decoded")),
            )
        )
    return tuple(slots)


def _counters(reply: Reply | None) -> Counters:
    if reply is None or reply.status != 200:
        return Counters()
    found = {
        _METRIC_FIELDS[sample.name]: sample.value
        for sample in parse_metrics(reply.body.decode("utf-8", "replace"), _METRIC_FIELDS)
    }
    return Counters(**found)


def _model(facts: Mapping[str, object], reply: Reply | None, options: LaunchOptions | None) -> ModelFacts:
    path = _text(facts.get("model_path"))
    if path is None and options is not None:
        path = options.value("model")
    body = _dict(_json(reply)) if reply is not None and reply.status == 200 else {}
    rows = body.get("data")
    first = _dict(rows[0]) if isinstance(rows, list) and rows else {}
    meta = _dict(first.get("meta"))
    return ModelFacts(
        name=_text(facts.get("model_alias")) or path,
        path=path,
        quantization=_text(facts.get("model_ftype")),
        parameters=_int(meta.get("n_params")),
        tensor_bytes=_int(meta.get("size")),
        trained_context_tokens=_int(meta.get("n_ctx_train")),
    )


def _json(reply: Reply) -> object:
    try:
        value: object = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return value


def _object(reply: Reply) -> dict[str, object] | None:
    value = _json(reply)
    return value if isinstance(value, dict) else None


def _dict(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: object) -> str | None:
    return clean(value) if isinstance(value, str) and value else None
