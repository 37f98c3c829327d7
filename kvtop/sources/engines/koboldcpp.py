"""KoboldCpp: its model and context; memory is the driver's total. No I/O here.

It says nothing of its cache over HTTP. Source: koboldcpp.py 1.76 and its API documentation.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.server import ModelFacts, ServerReading
from kvtop.planning.commands.python_command import after_interpreter_flags, is_python
from kvtop.sources.endpoints.endpoint_state import state_of
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.reply_fields import first_model, json_of, object_of, text, whole
from kvtop.sources.engines.named_flags import parse_named, port_in
from kvtop.sources.redaction.redact import clean_value

NAME = "koboldcpp"
DEFAULT_PORT = 5001
OPENS_OTHER_PORTS = False
VERSION, MODEL, CONTEXT = "/api/extra/version", "/api/v1/model", "/api/extra/true_max_context_length"
PATHS = (VERSION, MODEL, CONTEXT)
KEYED_PATHS: tuple[str, ...] = ()
SELDOM_SECONDS: Mapping[str, float] = {MODEL: 10.0, CONTEXT: 10.0}

_NAMES = ("model", "port", "contextsize", "gpulayers", "quantkv", "tensor-split", "blasbatchsize", "config")
_OPTIONS = {f"--{name}": name for name in _NAMES} | {"--tensor_split": "tensor-split"}
_SWITCHES = {"--flashattention": "flashattention", "--nommap": "nommap", "--lowvram": "lowvram"}


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """By the name of its program or script."""
    del comm
    return _words(argv) is not None


def _words(argv: Sequence[str]) -> list[str] | None:
    rest = list(argv)
    if rest and is_python(rest[0]):
        rest = after_interpreter_flags(rest[1:])
    return rest[1:] if rest and rest[0].rpartition("/")[2].lower().startswith("koboldcpp") else None


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The settings of `--config FILE.kcpps`, which may hold everything."""
    del environ
    path = parse_named(NAME, _words(argv) or (), _OPTIONS, _SWITCHES).value("config")
    return () if path is None else (path,)


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """The settings file first, then the command line."""
    del environ
    told = parse_named(NAME, _words(argv) or (), _OPTIONS, _SWITCHES)
    names = {option.name for option in told.options}
    added = [option for path, content in files for option in _settings(path, content) if option.name not in names]
    return replace(told, options=(*added, *told.options))


def _settings(path: str, content: str) -> list[LaunchOption]:
    try:
        values = object_of(json.loads(content))
    except (ValueError, RecursionError):
        return []
    kept = {"model_param": "model", **{name: name for name in (*_NAMES, *_SWITCHES.values()) if name != "model"}}
    found = []
    for key, name in kept.items():
        value = values.get(key)
        if isinstance(value, str | int | float) and value not in {"", False}:
            shown = "true" if value is True else str(value)
            found.append(LaunchOption(name, clean_value(name, shown), Origin.FILE, path))
    return found


def port_of(options: LaunchOptions) -> int | None:
    """The port it was told to listen on."""
    return port_in(options, DEFAULT_PORT)


def answers(replies: Mapping[str, Reply]) -> bool:
    """By the owner of its models."""
    return first_model(replies.get("/v1/models")).get("owned_by") == "koboldcpp"


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """What it is, then what it holds."""
    del options
    version = replies.get(VERSION)
    return PATHS if version is not None and version.status == 200 else (VERSION,)


def read(known: ServerInputs) -> ServerReading:
    """One server from its saved answers."""
    state, hint = state_of(known, known.replies.get(VERSION))
    told = None if known.options is None else known.options.value("model")
    name = text(object_of(json_of(known.replies.get(MODEL))).get("result"))
    context_tokens = whole(object_of(json_of(known.replies.get(CONTEXT))).get("value"))
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        version=text(object_of(json_of(known.replies.get(VERSION))).get("version")),
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        model=ModelFacts(name=name or told, path=told),
        launch=known.options,
        sequence_limit_tokens=context_tokens or None,
        is_remote=not known.processes,
    )
