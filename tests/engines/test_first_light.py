"""End to end on real input: a real llama-server, a driver that reports its real pid, and what kvtop says of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.conftest import LlamaServer

if TYPE_CHECKING:
    from tests.conftest import StandinNvml

GIB = 2**30


def snapshot(*arguments: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    command = [sys.executable, "-m", "kvtop", "snapshot", "--json", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=True, env={**os.environ, **(environ or {})}
    )
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def server_of(frame: dict[str, Any], server: LlamaServer) -> dict[str, Any]:
    (found,) = [it for it in frame["servers"] if server.pid in it["pids"]]
    value: dict[str, Any] = found
    return value


def assert_adds_up(memory: dict[str, Any]) -> None:
    parts = [segment["bytes"] for segment in memory["segments"].values()]
    assert None not in parts
    assert sum(parts) == memory["driver_bytes"]


@pytest.mark.engines
def test_split_on_a_card_adds_up_to_the_driver(
    llama_server: Callable[..., LlamaServer], standin_nvml: "StandinNvml"
) -> None:
    server = llama_server("-c", "8192", "--metrics")
    standin_nvml.write_scenario(
        f"device gpu0\nname gpu0 NVIDIA GeForce RTX 4090\nuuid gpu0 GPU-1\ntotal gpu0 {24 * GIB}\n"
        f"used gpu0 {2 * GIB}\nreserved gpu0 0\ncc gpu0 8 9\nprocess gpu0 compute {server.pid} {GIB}\n"
    )
    server.complete("The sea was calm that morning, and the old ship", 40)
    frame = snapshot(environ=standin_nvml.env)
    found = server_of(frame, server)
    on_card = next(it for it in found["memory"] if it["device"] == "gpu0")
    assert on_card["driver_bytes"] == GIB
    assert_adds_up(on_card)
    segments = on_card["segments"]
    assert segments["weights"]["basis"] == segments["kv_cache"]["basis"] == "computed"
    assert segments["unattributed"]["basis"] == "residual"
    # All 246,587,904 bytes of the file, since the tied embedding is held on the card for output too, and the padding
    # of quantized rows to multiples of 512 values that CUDA adds.
    assert segments["weights"]["bytes"] == 246_624_128
    assert 0 < segments["kv_cache"]["used_bytes"] < segments["kv_cache"]["bytes"]
    assert sum(slot["used_tokens"] for slot in found["slots"]) >= 40
    assert found["kv_cache"]["capacity_tokens"] == 8192


@pytest.mark.engines
def test_without_a_driver_the_resident_set_is_the_total(llama_server: Callable[..., LlamaServer]) -> None:
    server = llama_server("-c", "4096", environ={"LLAMA_ARG_CACHE_TYPE_K": "q8_0"})
    found = server_of(snapshot(), server)
    (memory,) = found["memory"]
    assert memory["device"] == "host"
    assert memory["driver_basis"] == "measured"
    assert_adds_up(memory)
    assert found["launch"]["cache-type-k"] == {
        "value": "q8_0",
        "origin": "environment",
        "detail": "LLAMA_ARG_CACHE_TYPE_K",
    }


@pytest.mark.engines
def test_a_locked_endpoint_says_what_to_do_and_its_key_stays_secret(
    llama_server: Callable[..., LlamaServer],
) -> None:
    server = llama_server("-c", "2048", "--api-key", "canary-5f1d")
    locked = snapshot()
    assert server_of(locked, server)["state"] == "locked"
    assert "KVTOP_API_KEY" in server_of(locked, server)["hint"]
    opened = snapshot(environ={"KVTOP_API_KEY": "canary-5f1d"})
    assert server_of(opened, server)["state"] == "ready"
    assert "canary" not in json.dumps(locked) + json.dumps(opened)


@pytest.mark.engines
def test_a_server_that_may_sleep_is_never_asked_for_its_slots(llama_server: Callable[..., LlamaServer]) -> None:
    server = llama_server("-c", "2048", "--sleep-idle-seconds", "600", "-lv", "4")
    found = server_of(snapshot(), server)
    assert found["state"] == "ready"
    assert found["slots"] is None
    assert "/slots" not in server.log.read_text(encoding="utf-8", errors="replace")
