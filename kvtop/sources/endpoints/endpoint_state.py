"""What one reply says of a server's state, where its engine has no rule of its own."""

from kvtop.domain.server import ServerState
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply

LOCKED_HINT = (
    "the endpoint wants an API key: put it in KVTOP_API_KEY (for another user's server name it with --url too), "
    "or name its file in the configuration"
)


def state_of(known: ServerInputs, reply: Reply | None) -> tuple[ServerState, str]:
    """(state, what to do about it) by the reply that a ready server gives with status 200."""
    if reply is None:
        return ServerState.UNKNOWN, "the endpoint has not been asked yet"
    if reply.status is None:
        if known.is_listening is False:
            return ServerState.LOADING, "it is not listening yet: it is starting, or loading its model"
        return ServerState.UNREACHABLE, f"{reply.path}: {reply.error}"
    if reply.status == 503:
        return ServerState.LOADING, "the endpoint says that it is not ready yet"
    if reply.status in {401, 403}:
        return ServerState.LOCKED, LOCKED_HINT
    if reply.status != 200:
        return ServerState.ERROR, f"{reply.path}: status {reply.status} {reply.error}".strip()
    return ServerState.READY, ""
