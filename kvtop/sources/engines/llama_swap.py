"""llama-swap: a proxy that starts and stops servers; it owns no accelerator memory. No I/O here.

Only `/running` is asked. Never any other path: `/unload` stops every model by a GET, and `/upstream/MODEL/…` starts it.
`/running` repeats whole command lines, keys included: name, state and address are copied and no more. Source: 0bdb372.
"""

import re
from collections.abc import Mapping, Sequence

from kvtop.domain.engine_report import HostedModel
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.endpoints.endpoint_state import state_of
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.reply_fields import first_model, json_of, list_of, object_of, text
from kvtop.sources.engines.named_flags import parse_named
from kvtop.text import PORT_MAX, plain_number

NAME = "llama-swap"
DEFAULT_PORT = 8080
OPENS_OTHER_PORTS = False
RUNNING = "/running"
PATHS = (RUNNING,)
KEYED_PATHS: tuple[str, ...] = ()
SELDOM_SECONDS: Mapping[str, float] = {}

_PROGRAM = re.compile(r"llama-swap(?:[-_][\w.-]+)?(?:\.exe)?")
_OPTIONS = {"--listen": "listen", "-listen": "listen", "--config": "config", "-config": "config"}


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """By the name of its program."""
    del comm
    return bool(argv) and _PROGRAM.fullmatch(argv[0].rpartition("/")[2]) is not None


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None: its file holds command lines of servers that may not even run."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """Where it listens."""
    del environ, files
    return parse_named(NAME, argv[1:], _OPTIONS)


def port_of(options: LaunchOptions) -> int | None:
    """The port of `--listen HOST:PORT`."""
    port = (options.value("listen") or "").rpartition(":")[2]
    return plain_number(port, PORT_MAX) if port.isascii() and port.isdigit() else DEFAULT_PORT


def answers(replies: Mapping[str, Reply]) -> bool:
    """By the owner of its models."""
    return first_model(replies.get("/v1/models")).get("owned_by") == "llama-swap"


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """What runs now."""
    del replies, options
    return PATHS


def read(known: ServerInputs) -> ServerReading:
    """The proxy and the models behind it; each of those is a server of its own."""
    reply = known.replies.get(RUNNING)
    state, hint = state_of(known, reply)
    rows = object_of(json_of(reply)).get("running")
    hosted = tuple(_hosted(object_of(row)) for row in rows) if isinstance(rows, list) else None
    if state is ServerState.READY:
        hint = "a proxy: its models run in processes of their own" if list_of(rows) else "a proxy; no model is running"
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
        is_proxy=True,
    )


def _hosted(row: Mapping[str, object]) -> HostedModel:
    return HostedModel(
        name=text(row.get("model")) or "?", state=text(row.get("state")) or "", url=text(row.get("proxy"))
    )
