"""mlx-lm's server, from replies and command lines recorded on the real one (mlx-lm 0.32.2, Linux)."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.domain.process import Process
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import engine_of_process, engine_of_replies, mlx

PLAIN = "BaseHTTP/0.6 Python/3.11.7"
HEALTH = Reply("/health", 200, b'{"status": "ok"}', PLAIN)
DEAD = Reply("/health", 503, b'{"status": "unavailable"}', PLAIN)
PROPS = Reply("/props", 404, b"Not Found", PLAIN)
RECORDED_ARGV = [
    *("/venv/bin/python3", "/venv/bin/mlx_lm.server", "--model", "models/tiny-llama"),
    *("--host", "127.0.0.1", "--port", "18110"),
]


def read(reply: Reply | None, argv: Sequence[str] = RECORDED_ARGV, *, pid: int | None = 7) -> ServerReading:
    replies = {} if reply is None else {reply.path: reply}
    processes = () if pid is None else (Process(pid, 1, "mlx_lm.server", tuple(argv)),)
    options = mlx.launch(argv, {}, []) if pid is not None else None
    return mlx.read(ServerInputs("s", "http://127.0.0.1:18110", replies, options, processes))


@pytest.mark.parametrize(
    ("argv", "model", "port"),
    [
        (RECORDED_ARGV, "models/tiny-llama", 18110),
        (["/venv/bin/python", "-m", "mlx_lm.server", "--model=m", "--por", "9"], "m", 9),
        (["python3.13", "-u", "-m", "mlx_lm", "server", "--model", "m"], "m", 8080),
        (["/venv/bin/python3", "/venv/bin/mlx_lm", "server", "--model", "m"], "m", 8080),
        (["/opt/homebrew/Python", "/x/bin/mlx_lm.server", "--model", "a/b"], "a/b", 8080),
        (["python", "/k/reporters/mlx_reporter.py", "/venv/bin/mlx_lm.server", "--model", "m"], "m", 8080),
        (["python", "/k/reporters/mlx_reporter.py", "-m", "mlx_lm", "server", "--model", "m"], "m", 8080),
        (
            ["python", "-u", "-X", "dev", "/k/reporters/mlx_reporter.py", "-m", "mlx_lm.server", "--model", "m"],
            "m",
            8080,
        ),
        (["python", "-m", "mlx_lm.server"], None, 8080),
    ],
)
def test_command_lines(argv: list[str], model: str | None, port: int) -> None:
    assert engine_of_process("python3", tuple(argv)) is mlx
    options = mlx.launch(argv, {}, [])
    assert (options.value("model"), mlx.port_of(options), options.errors) == (model, port, ())


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["vim", "mlx_lm.server"],
        ["python", "-m", "mlx_lm.generate", "--model", "m"],
        ["python", "-m", "mlx_lm", "chat"],
        ["bash", "-c", "mlx_lm.server --model m"],
        ["kvtop", "wrap", "--", "mlx_lm.server"],
        ["python", "/k/reporters/mlx_reporter.py"],
    ],
)
def test_what_is_no_server_of_it(argv: list[str]) -> None:
    assert not mlx.recognises("python3", argv)


@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_a_wrapped_one_is_not_told_to_be_wrapped(flags: list[str]) -> None:
    """Its report may be closed to kvtop: its folder is its user's own."""
    argv = ["python", *flags, "/k/reporters/mlx_reporter.py", "/venv/bin/mlx_lm.server", "--model", "m"]
    assert read(HEALTH, argv).hint == mlx.WRAPPED
    assert mlx.UNWRAPPED in read(HEALTH).hint


def test_what_is_known_of_a_running_one() -> None:
    reading = read(HEALTH)
    assert (reading.engine, reading.state, reading.pids) == ("mlx", ServerState.READY, (7,))
    assert "kvtop wrap" in reading.hint
    assert reading.model.path == "models/tiny-llama"
    assert (reading.slots, reading.slot_count, reading.slot_context_tokens, reading.memory_reports) == (
        None,
        None,
        None,
        (),
    )
    assert not reading.is_remote


@pytest.mark.parametrize(
    ("reply", "state", "hint"),
    [
        (None, ServerState.UNKNOWN, "not been asked"),
        (DEAD, ServerState.ERROR, "generation thread"),
        (Reply("/health", None, error="connection refused"), ServerState.UNREACHABLE, "connection refused"),
        (Reply("/health", 200, b"<html>"), ServerState.ERROR, "status 200"),
        (Reply("/health", 200, b'["ok"]'), ServerState.ERROR, "status 200"),
    ],
)
def test_states(reply: Reply | None, state: ServerState, hint: str) -> None:
    reading = read(reply)
    assert reading.state is state
    assert hint in reading.hint


def test_before_it_listens_it_is_starting() -> None:
    refused = Reply("/health", None, error="connection refused")
    known = ServerInputs("s", "http://127.0.0.1:1", {"/health": refused}, None, (), is_listening=False)
    assert mlx.read(known).state is ServerState.LOADING


def test_without_a_model_each_request_names_its_own() -> None:
    reading = read(HEALTH, ["python", "-m", "mlx_lm.server"])
    assert (reading.model.name, reading.model.path) == (None, None)
    assert "each request" in reading.hint


def test_it_is_told_from_other_plain_servers_by_its_answers() -> None:
    assert engine_of_replies({"/health": HEALTH, "/props": PROPS}) is mlx
    assert engine_of_replies({"/health": DEAD, "/props": PROPS}) is mlx
    assert engine_of_replies({"/health": HEALTH}) is None
    assert engine_of_replies({"/props": PROPS}) is None
    llama = Reply("/health", 200, b'{"status":"ok"}', "uvicorn")
    assert engine_of_replies({"/health": llama, "/props": PROPS}) is None
    listing = Reply("/props", 404, b"<!DOCTYPE HTML>", "SimpleHTTP/0.6 Python/3.11.7")
    assert engine_of_replies({"/health": listing, "/props": listing}) is None


def test_only_its_health_is_ever_asked_and_seldom() -> None:
    for replies in ({}, {"/health": HEALTH}, {"/health": DEAD}):
        assert mlx.wanted(replies, None) == ("/health",)
    assert mlx.SELDOM_SECONDS["/health"] >= 10
    assert read(HEALTH, pid=None).is_remote


@given(body=st.binary(max_size=100) | st.text(max_size=9).map(lambda word: json.dumps({"status": word}).encode()))
def test_no_reply_can_break_the_reader(body: bytes) -> None:
    reply = Reply("/health", 200, body, PLAIN)
    assert read(reply).engine == "mlx"
    mlx.answers({"/health": reply, "/props": PROPS})
