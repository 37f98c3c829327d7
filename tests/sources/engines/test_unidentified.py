"""A URL behind which nothing has been recognised yet."""

import pytest

from kvtop.domain.server import ServerState
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import engine_of_replies, unidentified


def test_one_more_question_at_a_time_and_none_into_the_void() -> None:
    assert unidentified.wanted({}, None) == ("/props",)
    answered = {"/props": Reply("/props", 404)}
    assert unidentified.wanted(answered, None) == ("/props", "/v1/models")
    assert unidentified.wanted({"/props": Reply("/props", None, error="refused")}, None) == ()


def test_pythons_plain_server_is_never_asked_for_its_models() -> None:
    answered = {"/props": Reply("/props", 404, b"Not Found", "BaseHTTP/0.6 Python/3.11.7")}
    assert unidentified.wanted(answered, None) == ("/props", "/health")
    answered["/health"] = Reply("/health", 404, b"", "BaseHTTP/0.6 Python/3.11.7")
    assert unidentified.wanted(answered, None) == ("/props", "/health")


@pytest.mark.parametrize(
    ("replies", "state", "hint"),
    [
        ([Reply("/v1/models", 401), Reply("/version", 404)], ServerState.LOCKED, "KVTOP_API_KEY"),
        ([Reply("/v1/models", 503)], ServerState.LOADING, "not ready"),
        ([Reply("/v1/models", 404), Reply("/version", 200, b"{}")], ServerState.ERROR, "/v1/models 404, /version 200"),
    ],
)
def test_states(replies: list[Reply], state: ServerState, hint: str) -> None:
    reading = unidentified.read(ServerInputs("s", "http://h:1", {reply.path: reply for reply in replies}))
    assert (reading.engine, reading.state) == ("unknown", state)
    assert hint in reading.hint


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (Reply("/v1/models", 503, b'{"error":{"message":"Loading model"}}', server="llama.cpp"), "llama.cpp"),
        (Reply("/v1/models", 200, b'{"data":[{"id":"m","owned_by":"llamacpp"}]}'), "llama.cpp"),
        (Reply("/props", 200, b'{"default_generation_settings":{}}'), "llama.cpp"),
        (Reply("/v1/models", 200, b'{"data":[{"id":"m","owned_by":"somebody"}]}'), None),
        (Reply("/v1/models", 200, b"<html>"), None),
    ],
)
def test_replies_tell_the_engine(reply: Reply, name: str | None) -> None:
    engine = engine_of_replies({reply.path: reply})
    assert (None if engine is None else engine.NAME) == name
