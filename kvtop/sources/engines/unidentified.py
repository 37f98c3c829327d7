"""An endpoint named by its URL that no engine has been recognised behind yet: the few questions that tell.

`/v1/models` says who owns the models on most engines, and its Server header tells llama.cpp even while it loads.
`/version` is open on a vLLM that wants a key. `/props` comes first: behind Python's plain server may be mlx-lm, which
walks the whole disk for `/v1/models`, so that one is asked `/health` instead. Nothing here loads or wakes a model.
"""

from collections.abc import Mapping, Sequence

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply

NAME = "unknown"
DEFAULT_PORT = 80
OPENS_OTHER_PORTS = False
_ORDER = ("/props", "/v1/models", "/version", "/api/ps", "/info")
_PLAIN_ORDER = ("/props", "/health")
PATHS = (*_ORDER, "/health")
KEYED_PATHS: tuple[str, ...] = ()
SELDOM_SECONDS: Mapping[str, float] = dict.fromkeys(PATHS, 10.0)
"""Back off: what listens there may be no model server, so it is not polled every tick."""


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """Never a process: only a URL can be unidentified."""
    del comm, argv
    return False


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """No options are known."""
    del argv, environ, files
    return LaunchOptions(NAME)


def port_of(options: LaunchOptions) -> int:
    """The port of its scheme."""
    del options
    return DEFAULT_PORT


def answers(replies: Mapping[str, Reply]) -> bool:
    """Never: it is what is left when no engine answers so."""
    del replies
    return False


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """One more question at a time, for as long as there are answers."""
    del options
    if any(reply.status is None or reply.status >= 500 for reply in replies.values()):
        return ()
    is_plain = any(reply.server.startswith("BaseHTTP/") for reply in replies.values())
    return (_PLAIN_ORDER if is_plain else _ORDER)[: len(replies) + 1]


def read(known: ServerInputs) -> ServerReading:
    """What is behind the URL is not known; the first reply says whether anything is."""
    state, hint = _state(tuple(known.replies.values()))
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        url=known.url,
        hint=hint,
        pids=known.pids,
        launch=known.options,
        is_remote=not known.processes,
    )


def _state(replies: tuple[Reply, ...]) -> tuple[ServerState, str]:
    if not replies:
        return ServerState.UNKNOWN, "the endpoint has not been asked yet"
    silent = next((reply for reply in replies if reply.status is None), None)
    if silent is not None:
        return ServerState.UNREACHABLE, f"{silent.path}: {silent.error}"
    if any(reply.status in {401, 403} for reply in replies):
        return ServerState.LOCKED, "the endpoint wants an API key and does not say what it is: put it in KVTOP_API_KEY"
    if all(reply.status == 503 for reply in replies):
        return ServerState.LOADING, "the endpoint says that it is not ready"
    told = ", ".join(f"{reply.path} {reply.status}" for reply in replies)
    return ServerState.ERROR, f"no engine that kvtop knows answers so ({told})"
