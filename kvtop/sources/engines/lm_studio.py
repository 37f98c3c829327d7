"""LM Studio: which models it holds and with which context. No I/O here.

`/api/v1/models` (0.4 and later; `/api/v0/models` before) names loaded instances; neither tells memory or cache types.
Completions and `/api/v1/models/load` load models and are never sent. Source: its public REST documentation.
"""

from collections.abc import Mapping, Sequence

from kvtop.domain.engine_report import HostedModel
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.endpoints.endpoint_state import state_of
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.reply_fields import first_model, json_of, list_of, object_of, text, whole
from kvtop.sources.engines.named_flags import parse_named, port_in

NAME = "lm-studio"
DEFAULT_PORT = 1234
OPENS_OTHER_PORTS = True
MODELS, OLD_MODELS = "/api/v1/models", "/api/v0/models"
PATHS = (MODELS, OLD_MODELS)
KEYED_PATHS: tuple[str, ...] = ()
SELDOM_SECONDS: Mapping[str, float] = {MODELS: 5.0, OLD_MODELS: 5.0}

_PROGRAMS = ("lm-studio", "lm studio", "lmstudio", "llmster")


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """The application or its daemon; Electron's helpers (`--type=…`) are its children."""
    del comm
    if not argv or any(word.startswith("--type=") for word in argv[1:]):
        return False
    return argv[0].rpartition("/")[2].lower().startswith(_PROGRAMS)


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """Nothing of what it was started with decides memory."""
    del environ, files
    return parse_named(NAME, argv[1:], {"--port": "port"})


def port_of(options: LaunchOptions) -> int | None:
    """Its port is set inside the application; this is the default."""
    return port_in(options, DEFAULT_PORT)


def answers(replies: Mapping[str, Reply]) -> bool:
    """By the owner that it gives to every model."""
    return first_model(replies.get("/v1/models")).get("owned_by") == "organization_owner"


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """The list of models; the older one only where the newer is not known."""
    del options
    models = replies.get(MODELS)
    return PATHS if models is not None and models.status == 404 else (MODELS,)


def read(known: ServerInputs) -> ServerReading:
    """The application and its loaded models."""
    models, older = known.replies.get(MODELS), known.replies.get(OLD_MODELS)
    reply = older if older is not None and models is not None and models.status == 404 else models
    state, hint = state_of(known, reply)
    if state is ServerState.LOADING and known.is_listening is False:
        state, hint = ServerState.UNREACHABLE, "its server is off, or on another port than 1234: name it with --url"
    body = object_of(json_of(reply))
    rows = [object_of(row) for row in list_of(body.get("models", body.get("data")))]
    hosted = tuple(it for row in rows for it in _hosted(row)) if state is ServerState.READY else None
    if state is ServerState.READY:
        hint = "its endpoint does not report cache types" if hosted else "no model is loaded"
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        launch=known.options,
        hosted=hosted,
        is_remote=not known.processes,
    )


def _hosted(row: Mapping[str, object]) -> tuple[HostedModel, ...]:
    quantization = row.get("quantization")
    level = text(object_of(quantization).get("name")) or text(quantization)
    name = text(row.get("key")) or text(row.get("id")) or "?"
    if "state" in row:  # the older list
        if row.get("state") != "loaded":
            return ()
        context_tokens = whole(row.get("loaded_context_length"))
        return (HostedModel(name=name, state="loaded", context_tokens=context_tokens, quantization=level),)
    return tuple(
        HostedModel(
            name=text(instance.get("id")) or name,
            state="loaded",
            size_bytes=whole(row.get("size_bytes")),
            context_tokens=whole(object_of(instance.get("config")).get("context_length")),
            quantization=level,
        )
        for instance in map(object_of, list_of(row.get("loaded_instances")))
    )
