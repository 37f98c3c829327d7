"""What saved replies of a real llama-server mean."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.llamacpp.options import parse_llama_server
from kvtop.sources.engines import llamacpp
from kvtop.sources.http import Reply

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "llamacpp"
FILES: Mapping[str, str] = {"/props": "props", "/slots": "slots", "/metrics": "metrics", "/v1/models": "v1_models"}


def replies(state: str) -> dict[str, Reply]:
    found = {}
    for path, name in FILES.items():
        file = FIXTURES / state / f"{name}.http"
        if file.exists():
            head, _, rest = file.read_text(encoding="utf-8").partition("\n\nHTTP ")
            assert head.startswith("GET ")
            status, _, answer = rest.partition("\n")
            found[path] = Reply(path, int(status), answer.partition("\n\n")[2].encode())
    return found


def read(state: str) -> ServerReading:
    return llamacpp.read("127.0.0.1:8080", "http://127.0.0.1:8080", replies(state), None, (1,))


def test_idle_server_has_four_empty_slots() -> None:
    reading = read("idle")
    assert reading.state is ServerState.READY
    assert reading.slot_count == 4
    assert reading.slot_context_tokens == 4096
    assert reading.slots is not None
    assert [slot.used_tokens for slot in reading.slots] == [0, 0, 0, 0]
    assert reading.model.parameters == 268_098_176
    assert reading.model.tensor_bytes == 246_587_904
    assert reading.model.quantization == "Q4_K - Medium"


def test_prompt_tokens_of_a_slot_already_hold_the_generated_ones() -> None:
    reading = read("busy")
    assert reading.slots is not None
    (busy,) = [slot for slot in reading.slots if slot.is_processing]
    assert (busy.used_tokens, busy.decoded_tokens) == (13, 3)
    assert reading.counters.requests_processing == 1


def test_tokens_stay_in_the_cache_after_the_request() -> None:
    reading = read("after")
    assert reading.slots is not None
    assert max(slot.used_tokens or 0 for slot in reading.slots) > 100
    assert not any(slot.is_processing for slot in reading.slots)


@pytest.mark.parametrize(("state", "expected"), [("locked", ServerState.LOCKED), ("loading", ServerState.LOADING)])
def test_states_that_only_the_status_tells(state: str, expected: ServerState) -> None:
    reading = read(state)
    assert reading.state is expected
    assert reading.hint
    assert reading.slots is None
    assert llamacpp.wanted(replies(state)["/props"], None) == ()


def test_no_slots_is_unknown_and_says_why() -> None:
    reading = read("no_slots")
    assert reading.slots is None
    assert "--no-slots" in reading.hint
    assert "/slots" not in llamacpp.wanted(replies("no_slots")["/props"], None)


def test_a_router_is_asked_nothing_more() -> None:
    assert llamacpp.wanted(replies("router")["/props"], None) == ()
    assert "router" in read("router").hint


def test_a_sleeper_and_one_that_may_sleep_are_never_asked_for_slots() -> None:
    awake = replies("idle")["/props"]
    asleep = Reply("/props", 200, awake.body.replace(b'"is_sleeping":false', b'"is_sleeping":true'))
    assert "/slots" in llamacpp.wanted(awake, None)
    assert "/slots" not in llamacpp.wanted(asleep, None)
    assert llamacpp.read("x", None, {"/props": asleep}, None, ()).state is ServerState.SLEEPING
    sleepy = parse_llama_server(["--sleep-idle-seconds", "60"], {})
    assert "/slots" not in llamacpp.wanted(awake, sleepy)


def test_nothing_but_named_paths_is_ever_wanted() -> None:
    for state in ("idle", "busy", "locked", "loading", "no_slots", "router", "split"):
        assert set(llamacpp.wanted(replies(state)["/props"], None)) <= set(llamacpp.PATHS)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"default_generation_settings":[]}', b"[" * 100_000, b"\xff"])
def test_strange_bodies_are_states_and_never_exceptions(body: bytes) -> None:
    reading = llamacpp.read("x", None, {path: Reply(path, 200, body) for path in FILES}, None, ())
    assert reading.slots is None or reading.slots == ()
    assert reading.slot_context_tokens is None
