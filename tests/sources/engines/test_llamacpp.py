"""What a llama-server's answers mean, from replies of real servers."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.domain.engine_report import HostedModel
from kvtop.domain.process import Process
from kvtop.domain.server import Counters, ServerReading, ServerState
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import llamacpp

Recorded = Callable[[str, str], Reply]
ARGV: dict[str, list[str]] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "llamacpp" / "argv.json").read_text(encoding="utf-8")
)
MODEL = "/models/gemma-3-270m-q4_k_m.gguf"


def _read(recorded: Recorded, folder: str, *names: str) -> ServerReading:
    replies = [recorded(f"llamacpp/{folder}", name) for name in names]
    options = llamacpp.launch(["llama-server", *ARGV[folder]], {}, [])
    known = ServerInputs(
        "s", "http://127.0.0.1:1", {it.path: it for it in replies}, options, (Process(7, 1, "llama-server", ()),)
    )
    return llamacpp.read(known)


def test_a_server_with_defaults(recorded: Recorded) -> None:
    reading = _read(recorded, "default", "props", "slots", "v1_models")
    assert (reading.state, reading.hint) == (ServerState.READY, "")
    assert (reading.slot_count, reading.slot_context_tokens) == (4, 32768)
    assert reading.slots is not None
    assert [slot.used_tokens for slot in reading.slots] == [0, 0, 0, 0]
    assert (reading.model.path, reading.model.quantization) == (MODEL, "Q4_K - Medium")
    assert (reading.model.parameters, reading.model.tensor_bytes) == (268098176, 246587904)
    assert reading.model.trained_context_tokens == 32768
    assert reading.counters == Counters()
    assert [(it.name, it.value) for it in reading.stated] == [("metrics", "false")]
    assert _read(recorded, "metrics_c4096", "props").stated[0].value == "true"
    assert not reading.is_remote


def test_tokens_stay_in_the_cache_after_a_request(recorded: Recorded) -> None:
    busy = _read(recorded, "default", "props", "busy_slots")
    after = _read(recorded, "parallel4_nokvu", "props", "after_slots")
    assert busy.slots is not None
    assert after.slots is not None
    assert [slot.is_processing for slot in busy.slots].count(True) == 1
    assert [slot.used_tokens for slot in after.slots] == [0, 0, 0, 169]
    assert [slot.context_tokens for slot in after.slots] == [2048] * 4
    assert not any(slot.is_processing for slot in after.slots)


def test_counters_come_from_metrics(recorded: Recorded) -> None:
    counters = _read(recorded, "metrics_c4096", "props", "after_metrics").counters
    assert counters.generated_tokens_total == 160
    assert counters.sequence_tokens_max == 169
    assert counters.requests_processing == 0
    assert counters.prompt_tokens_total
    assert _read(recorded, "metrics_c4096", "props", "metrics").counters.prompt_tokens_total == 0


def test_metrics_that_are_off_are_unknown_and_not_zero(recorded: Recorded) -> None:
    reading = _read(recorded, "default", "props", "metrics")
    assert reading.counters == Counters()


@pytest.mark.parametrize(
    ("folder", "name", "state", "hint"),
    [
        ("api_key", "props", ServerState.LOCKED, "KVTOP_API_KEY"),
        ("api_key", "auth_props", ServerState.READY, ""),
        ("loading_state", "state503_props", ServerState.LOADING, "loaded"),
        ("loading_state", "state200_props", ServerState.READY, ""),
        ("no_slots", "props", ServerState.READY, "--no-slots"),
        ("sleep_idle", "props", ServerState.READY, "keep it from going to sleep"),
        ("sleep_idle", "sleeping_props", ServerState.SLEEPING, "does not wake"),
        ("router", "props", ServerState.READY, "router"),
    ],
)
def test_states(recorded: Recorded, folder: str, name: str, state: ServerState, hint: str) -> None:
    reading = _read(recorded, folder, name)
    assert reading.state is state
    assert hint in reading.hint
    assert reading.slots is None


@pytest.mark.parametrize(
    ("folder", "name", "paths"),
    [
        ("default", "props", ("/props", "/v1/models", "/slots")),
        ("metrics_c4096", "props", ("/props", "/v1/models", "/slots", "/metrics")),
        ("no_slots", "props", ("/props", "/v1/models")),
        ("api_key", "props", ("/props",)),
        ("loading_state", "state503_props", ("/props",)),
        ("router", "props", ("/props", "/v1/models")),
        # Asking /slots would wake a sleeping server and keep an idle one awake.
        ("sleep_idle", "props", ("/props", "/v1/models", "/metrics")),
        ("sleep_idle", "sleeping_props", ("/props", "/v1/models", "/metrics")),
    ],
)
def test_what_is_asked_next(recorded: Recorded, folder: str, name: str, paths: tuple[str, ...]) -> None:
    options = llamacpp.launch(["llama-server", *ARGV[folder]], {}, [])
    assert llamacpp.wanted({"/props": recorded(f"llamacpp/{folder}", name)}, options) == paths


def test_a_router_names_the_models_that_it_holds(recorded: Recorded) -> None:
    """Of three, one is loaded. `status.args` repeats whole command lines and is not kept."""
    replies = {
        "/props": recorded("llamacpp/router", "props"),
        "/v1/models": recorded("llamacpp/router", "loaded_v1_models"),
    }
    reading = llamacpp.read(ServerInputs("s", "http://127.0.0.1:1", replies))
    assert reading.hosted == (HostedModel("gemma-q8kv", "loaded", context_tokens=2048, quantization="Q4_K - Medium"),)
    assert reading.model.path is None
    assert llamacpp.read(ServerInputs("s", None, {"/props": replies["/props"]})).hosted == ()
    assert _read(recorded, "default", "props").hosted is None


def test_props_is_asked_first() -> None:
    assert llamacpp.wanted({}, None) == ("/props",)


def test_a_sleeping_remote_server_is_never_woken(recorded: Recorded) -> None:
    assert "/slots" not in llamacpp.wanted({"/props": recorded("llamacpp/sleep_idle", "sleeping_props")}, None)


def test_a_server_that_does_not_answer() -> None:
    reply = Reply("/props", None, error="connection refused")
    reading = llamacpp.read(ServerInputs("s", "http://127.0.0.1:1", {"/props": reply}))
    assert reading.state is ServerState.UNREACHABLE
    assert "connection refused" in reading.hint
    assert reading.is_remote


def test_before_the_first_question_the_state_is_unknown() -> None:
    assert llamacpp.read(ServerInputs("s", None, {})).state is ServerState.UNKNOWN


def test_a_web_page_on_that_port_is_an_error() -> None:
    reply = Reply("/props", 200, b"<html>hello</html>")
    assert llamacpp.read(ServerInputs("s", None, {"/props": reply})).state is ServerState.ERROR


@given(body=st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["id", "n_ctx", "next_token", "data", "meta", "default_generation_settings", "total_slots",
                         "is_sleeping", "role", "model_path", "n_decoded", "is_processing", "n_prompt_tokens"]),
        inner, max_size=4),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_reply_can_break_the_reader(body: bytes) -> None:
    replies = {path: Reply(path, 200, body) for path in llamacpp.PATHS}
    reading = llamacpp.read(ServerInputs("s", None, replies))
    llamacpp.wanted(replies, None)
    llamacpp.answers(replies)
    for slot in reading.slots or ():
        assert slot.used_tokens is None or slot.used_tokens >= 0


def test_terminal_escapes_in_a_model_name_do_not_get_in() -> None:
    body = json.dumps({"model_alias": "a\x1b[31mred", "model_path": "/m\n.gguf", "build_info": "b1"}).encode()
    reading = llamacpp.read(ServerInputs("s", None, {"/props": Reply("/props", 200, body)}))
    assert reading.model.name == "a\ufffd[31mred"
    assert reading.model.path == "/m\ufffd.gguf"


@pytest.mark.parametrize(
    ("comm", "argv", "expected"),
    [
        ("llama-server", ["/opt/bin/llama-server", "-m", "x"], True),
        ("llama-server", ["renamed", "-m", "x"], True),
        ("x", ["/a/llama-server-b11434"], True),
        ("x", ["llama-server.exe"], True),
        ("vim", ["vim", "llama-server"], False),
        ("x", ["llama-servers"], False),
        ("llama-server", [], False),
    ],
)
def test_recognition(comm: str, argv: Sequence[str], *, expected: bool) -> None:
    assert llamacpp.recognises(comm, argv) is expected


@pytest.mark.parametrize(("argv", "port"), [(["--port", "9000"], 9000), ([], 8080), (["--port", "x"], 8080)])
def test_the_told_port(argv: list[str], port: int) -> None:
    assert llamacpp.port_of(llamacpp.launch(["llama-server", *argv], {}, [])) == port
