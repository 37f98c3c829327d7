"""Ollama: which models it holds, for how long, and where they lie. No I/O here.

Its models run in children: `llama-server` since it stopped bundling runners of its own (kvtop's llama.cpp adapter reads
those, see `kvtop.sources.models.ollama_models`), `ollama runner` or `ollama_llama_server` before. Source: v0.33.0-rc2,
`server/routes.go`, `envconfig/config.go`. It logs every request, so it is asked every few seconds only.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from kvtop.domain.engine_report import HostedModel, Rank
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.process import Process
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.endpoints.endpoint_state import state_of
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.reply_fields import json_of, list_of, object_of, text, whole
from kvtop.sources.redaction.redact import clean
from kvtop.text import PORT_MAX, plain_number

NAME = "ollama"
DEFAULT_PORT = 11434
OPENS_OTHER_PORTS = False
PS, VERSION = "/api/ps", "/api/version"
PATHS = (PS, VERSION)
KEYED_PATHS: tuple[str, ...] = (PS,)
"""The server knows no keys."""
SELDOM_SECONDS: Mapping[str, float] = {PS: 3.0, VERSION: 300.0}

_NEVER_YEAR = 2200
"""A model kept for ever (OLLAMA_KEEP_ALIVE=-1) expires in 292 years, the longest duration that Go knows."""
_OPTIONS = (
    *("KV_CACHE_TYPE", "FLASH_ATTENTION", "NUM_PARALLEL", "CONTEXT_LENGTH", "MAX_LOADED_MODELS", "KEEP_ALIVE"),
    *("GPU_OVERHEAD", "SCHED_SPREAD", "HOST", "MODELS"),
)


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """`ollama serve`."""
    del comm
    return bool(argv) and argv[0].rpartition("/")[2] == "ollama" and tuple(argv[1:2]) in {("serve",), ("start",)}


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None: it is configured by its environment."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """The OLLAMA_ variables that decide memory, as options ("kv-cache-type")."""
    del argv, files
    found = []
    for part in _OPTIONS:
        variable, name = f"OLLAMA_{part}", part.lower().replace("_", "-")
        value = environ.get(variable, "").strip(" \"'")
        if value:
            found.append(LaunchOption(name, clean(value), Origin.ENVIRONMENT, variable))
    return LaunchOptions(NAME, tuple(found))


def port_of(options: LaunchOptions) -> int:
    """The port in OLLAMA_HOST; an address alone leaves the default (`envconfig.Host`)."""
    host = options.value("host") or ""
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "", host
    port = rest.split("/", 1)[0].rpartition(":")[2] if ":" in rest.rpartition("]")[2] else ""
    number = plain_number(port, PORT_MAX)
    return {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT) if number is None else number


def answers(replies: Mapping[str, Reply]) -> bool:
    """By the list of running models, which nobody else has at that path in that form."""
    models = object_of(json_of(replies.get(PS))).get("models")
    return isinstance(models, list) and all("size_vram" in object_of(model) for model in models)


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """Running models, and the version of a server that answers."""
    del options
    running = replies.get(PS)
    return (PS,) if running is None or running.status is None else (PS, VERSION)


def read(known: ServerInputs) -> ServerReading:
    """The server that starts the others; its models are servers of their own where they run in a `llama-server`."""
    running = known.replies.get(PS)
    state, hint = state_of(known, running)
    models = object_of(json_of(running)).get("models")
    hosted = tuple(_hosted(object_of(row)) for row in list_of(models)) if isinstance(models, list) else None
    runners = tuple(Rank(process.pid, "runner") for process in known.processes if _is_runner(process))
    if state is ServerState.READY:
        hint = "its models run in processes of their own" if hosted or runners else "no model is loaded"
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        version=text(object_of(json_of(known.replies.get(VERSION))).get("version")),
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        launch=known.options,
        ranks=runners,
        hosted=hosted,
        is_remote=not known.processes,
        is_proxy=True,
    )


def _is_runner(process: Process) -> bool:
    """A child that runs a model, of versions before the `llama-server` (`ollama runner …`, `ollama_llama_server …`)."""
    words = process.argv or ()
    program = words[0].rpartition("/")[2] if words else ""
    return program == "ollama_llama_server" or (program == "ollama" and words[1:2] == ("runner",))


def _hosted(row: Mapping[str, object]) -> HostedModel:
    """`size` and `size_vram` come from the runner's log, or are the size of the file where that was missed."""
    return HostedModel(
        name=text(row.get("name")) or text(row.get("model")) or "?",
        state="loaded",
        digest=text(row.get("digest")),
        size_bytes=whole(row.get("size")),
        device_bytes=whole(row.get("size_vram")),
        context_tokens=whole(row.get("context_length")) or None,
        quantization=text(object_of(row.get("details")).get("quantization_level")),
        expires_at=expiry(row.get("expires_at")),
    )


def expiry(value: object) -> float | None:
    """Unix time in seconds of a date as Go writes it (nanoseconds, zone); None where it is none, or means never."""
    if not isinstance(value, str):
        return None
    whole_seconds, dot, rest = value.partition(".")
    zone = rest.lstrip("0123456789") if dot else ""
    try:
        when = datetime.fromisoformat(whole_seconds + zone)
        moment = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        return moment.timestamp() if 2000 < moment.year < _NEVER_YEAR else None
    except (ValueError, OverflowError):
        return None
