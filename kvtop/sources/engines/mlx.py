"""mlx-lm's server: what little it says of itself, and what it never says. No I/O here.

Read in mlx-lm 0.32.2 (server.py) and seen on the real one: it answers `/health` and `/v1/models` and nothing else. Its
memory, its context, its slots and the loaded model are told nowhere: KV in use is a range unless the server was started
by `kvtop wrap`. `/v1/models` is never asked: it walks the whole hub cache, and does not say which model is loaded.
"""

import posixpath
from collections.abc import Mapping, Sequence

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import ModelFacts, ServerReading, ServerState
from kvtop.planning.commands.command import Command, process_command
from kvtop.planning.commands.python_command import interpreter_flags
from kvtop.planning.mlx.options import ENGINE, parse_server_options
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.reply_fields import object_of, parsed, text
from kvtop.sources.engines.named_flags import port_in
from kvtop.sources.redaction.redact import clean

NAME = ENGINE
DEFAULT_PORT = 8080
OPENS_OTHER_PORTS = False
HEALTH, PROPS = "/health", "/props"
PATHS = (HEALTH,)
"""Every path this adapter asks. `/props` is only looked at: llama.cpp's answers there, mlx-lm says 404 "Not Found"."""

KEYED_PATHS: tuple[str, ...] = (HEALTH,)
"""The server knows no keys."""
SELDOM_SECONDS: Mapping[str, float] = {HEALTH: 15.0}
"""Every request writes a line into the server's log."""

REPORTER = "mlx_reporter.py"
"""The program that `kvtop wrap` puts before the server's own words."""

NO_MODEL = "started without --model: each request names its own, so its weights cannot be known"
WRAPPED = "started by kvtop wrap: its memory report is not there yet, or only its own user and root may read it"
UNWRAPPED = (
    "how much of its memory is KV cache is not reported, only a range is known: "
    "start it with `kvtop wrap -- mlx_lm.server …` to have it reported"
)


def recognises(comm: str, argv: Sequence[str]) -> bool:
    """Whether a process is mlx-lm's server, by its command line: the program itself is Python."""
    del comm
    return _command(argv) is not None


def config_files(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """None: everything is on the command line."""
    del argv, environ
    return ()


def launch(argv: Sequence[str], environ: Mapping[str, str], files: Sequence[tuple[str, str]]) -> LaunchOptions:
    """Effective options of a process; argparse's abbreviations are understood."""
    del environ, files
    command = _command(argv)
    return parse_server_options(command.words if command is not None else argv[1:])


def port_of(options: LaunchOptions) -> int | None:
    """The port it was told to listen on."""
    return port_in(options, DEFAULT_PORT)


def answers(replies: Mapping[str, Reply]) -> bool:
    """By three things together: Python's plain server, the words of `/health`, and a 404 for what it does not know."""
    health, props = replies.get(HEALTH), replies.get(PROPS)
    if health is None or props is None or not health.server.startswith("BaseHTTP/"):
        return False
    said = health.status, object_of(parsed(health)).get("status")
    return said in {(200, "ok"), (503, "unavailable")} and (props.status, props.body) == (404, b"Not Found")


def wanted(replies: Mapping[str, Reply], options: LaunchOptions | None) -> tuple[str, ...]:
    """`/health`, and nothing else."""
    del replies, options
    return PATHS


def read(known: ServerInputs) -> ServerReading:
    """One server. What it does not say stays None."""
    words = known.processes[0].argv if known.processes else None
    state, hint = _state(known.replies.get(HEALTH), known.options, is_wrapped=_reporter_at(words or ()) is not None)
    if state is ServerState.UNREACHABLE and known.is_listening is False:
        state, hint = ServerState.LOADING, "starting: it does not listen yet"
    name = None if known.options is None else known.options.value("model")
    return ServerReading(
        id=known.id,
        engine=NAME,
        state=state,
        url=known.url,
        hint=known.reach_note or hint,
        pids=known.pids,
        model=ModelFacts(name=None if name is None else clean(name), path=name),
        launch=known.options,
        is_remote=not known.processes,
    )


def _state(health: Reply | None, options: LaunchOptions | None, *, is_wrapped: bool) -> tuple[ServerState, str]:
    if health is None:
        return ServerState.UNKNOWN, "the endpoint has not been asked yet"
    if health.status is None:
        return ServerState.UNREACHABLE, f"{health.path}: {health.error}"
    said = text(object_of(parsed(health)).get("status"))
    if health.status == 503 and said == "unavailable":
        return ServerState.ERROR, "its generation thread has died: it must be started again (see its log)"
    if health.status != 200 or said != "ok":
        return ServerState.ERROR, f"{health.path}: status {health.status} {health.error}".strip()
    if options is not None and options.value("model") is None:
        return ServerState.READY, NO_MODEL
    return ServerState.READY, WRAPPED if is_wrapped else UNWRAPPED


def _reporter_at(argv: Sequence[str]) -> int | None:
    """Where `kvtop wrap`'s reporter stands in a command line: first after the interpreter and its options."""
    at = 1 + len(interpreter_flags(argv[1:]))
    return at if at < len(argv) and posixpath.basename(argv[at]) == REPORTER else None


def _command(argv: Sequence[str]) -> Command | None:
    """The server's command line out of a process's, without the interpreter's options and `kvtop wrap`'s reporter."""
    words = list(argv)
    if (at := _reporter_at(words)) is not None:
        del words[at]
    command = process_command(words)
    return command if command is not None and command.engine == ENGINE else None
