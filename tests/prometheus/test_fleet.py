"""A cluster through a real Prometheus: several targets, one that dies, one that never lived; and answers that lie."""

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.device import DeviceState
from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.memory import Segment
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerState
from kvtop.sources.demo import SCENARIOS
from kvtop.sources.fleet import QUERY, TARGETS, FleetOptions, take_fleet_sample
from kvtop.sources.fleet.cards import SyntheticPids, dcgm_cards
from kvtop.sources.fleet.series import Series, by_name
from kvtop.sources.fleet.servers import deduplicate, kvtop_servers, vllm_servers, with_age

VLLM = """\
vllm:cache_config_info{{block_size="128",cache_dtype="fp8",engine="0",gpu_memory_utilization="0.92",\
kv_cache_memory_bytes="55834574848",kv_cache_size_tokens="425984",num_gpu_blocks="3328",{pod}}} 1
vllm:kv_cache_usage_perc{{engine="0",model_name="{model}",{pod}}} 0.42
vllm:num_requests_running{{engine="0",model_name="{model}",{pod}}} 3
"""
DCGM = """\
DCGM_FI_DEV_FB_USED{{gpu="0",UUID="GPU-1",modelName="NVIDIA H100",Hostname="node1",{pod}}} 70000
DCGM_FI_DEV_FB_FREE{{gpu="0",UUID="GPU-1",modelName="NVIDIA H100",Hostname="node1",{pod}}} 11000
"""
POD = 'namespace="llm",pod="vllm-a-0"'


def frame_of(url: str) -> Frame:
    return analyse(History(), take_fleet_sample(FleetOptions(url)), "1")


def server(frame: Frame, server_id: str) -> ServerView:
    found = frame.server(server_id)
    assert found is not None, [view.reading.id for view in frame.servers]
    return found


def test_the_split_of_every_server_of_a_cluster(
    start_prometheus: Callable[..., Any],
    start_exporter: Callable[[str], str],
    serve_metrics: Callable[[str], str],
    dead_address: str,
) -> None:
    exporter = start_exporter("mixed_host")
    vllm = serve_metrics(VLLM.format(pod=POD, model="no-such-org/no-such-model"))
    lonely = serve_metrics(VLLM.format(pod='namespace="llm",pod="vllm-b-0"', model="m"))
    prometheus = start_prometheus(
        {"kvtop": [exporter], "vllm": [vllm, lonely, dead_address], "dcgm": [serve_metrics(DCGM.format(pod=POD))]}
    )
    prometheus.wait_for("kvtop_server_info", 5)
    prometheus.wait_for("DCGM_FI_DEV_FB_USED")
    prometheus.wait_for("vllm:cache_config_info", 2)
    prometheus.wait_for(f'up{{instance="{dead_address}"}} == 0')
    frame = frame_of(prometheus.url)
    assert {view.device.state for view in frame.devices} == {DeviceState.OK}
    scenario = next(it for it in SCENARIOS if it.name == "mixed_host")
    there = analyse(History(), scenario.at(1.0), "1")
    compared = 0
    for view in there.servers:
        here = server(frame, f"127.0.0.1 {view.reading.id}")
        assert here.reading.engine == view.reading.engine
        splits = {split.device_id: split for split in here.splits}
        for split in view.splits:
            told = splits[f"127.0.0.1:{split.device_id}"]
            assert told.driver.value_bytes == split.driver.value_bytes
            for segment in (Segment.WEIGHTS, Segment.KV_CACHE, Segment.RECURRENT):
                one, other = (dict(it.memory.parts)[segment].value_bytes for it in (told, split))
                assert one == other, (view.reading.id, segment)
                compared += one is not None
        assert here.kv_cache.capacity_tokens == view.kv_cache.capacity_tokens
    assert compared >= 10
    pod = server(frame, "llm/vllm-a-0")
    (split,) = pod.splits
    assert split.driver.value_bytes == 70000 * 1024 * 1024
    assert split.memory[Segment.KV_CACHE].value_bytes == 55834574848
    assert split.memory[Segment.WEIGHTS].value_bytes is None, "its model is not here, so nobody knows"
    assert pod.kv_cache.used_tokens == round(0.42 * (425984 - 128)), "one block holds no tokens"
    assert server(frame, "llm/vllm-b-0").splits == (), "no card is known to be its own"
    dead = [it.message for it in frame.failures if it.source == f"target {dead_address}"]
    assert ["refused" in message for message in dead] == [True], dead


def test_a_target_that_dies_is_shown_and_forgotten_figures_are_not(
    start_prometheus: Callable[..., Any], tmp_path: Path
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(VLLM.format(pod=POD, model="m").encode())

        def log_message(self, *_: object) -> None:
            return

    target = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=target.serve_forever, daemon=True).start()
    prometheus = start_prometheus({"vllm": [f"127.0.0.1:{target.server_port}"]})
    prometheus.wait_for("vllm:cache_config_info")
    assert server(frame_of(prometheus.url), "llm/vllm-a-0").reading.state is ServerState.READY
    target.shutdown()
    target.server_close()
    prometheus.wait_for("up == 0")
    view = server(frame_of(prometheus.url), "llm/vllm-a-0")
    assert view.reading.state is ServerState.UNREACHABLE
    assert 'its target is down: Get "http:' in view.reading.hint
    assert view.kv_cache.used_ratio is None
    assert view.splits == ()
    assert tmp_path.exists()


def test_old_figures_are_called_old() -> None:
    labels = {"job": "d", "instance": "n:1", "gpu": "0", "UUID": "u"}
    rows = by_name([Series("DCGM_FI_DEV_FB_USED", labels, 5.0), Series("DCGM_FI_DEV_FB_FREE", labels, 6.0)])
    (fresh,) = dcgm_cards(rows, 1000.0, SyntheticPids(), {"n:1": 990.0})
    (old,) = dcgm_cards(rows, 1000.0, SyntheticPids(), {"n:1": 800.0})
    assert (fresh.state, old.state) == (DeviceState.OK, DeviceState.STALE)
    assert (fresh.measured_at, old.measured_at) == (990.0, 800.0)
    vllm = by_name([Series("vllm:cache_config_info", {"instance": "v:1", "num_gpu_blocks": "9"}, 1.0)])
    readings = vllm_servers(vllm, [], SyntheticPids())
    (young,), (aged,) = (with_age(readings, vllm, 1000.0, {"v:1": at}) for at in (950.0, 800.0))
    assert young.state is ServerState.READY
    assert (aged.state, aged.hint) == (ServerState.UNKNOWN, "old: last scraped 200 s ago")


def test_a_server_that_two_exporters_tell_of_is_one() -> None:
    synthetic_pids = SyntheticPids()
    info = Series("kvtop_server_info", {"instance": "n1:9941", "server": "127.0.0.1:8000", "engine": "vllm"}, 1.0)
    own = Series("vllm:cache_config_info", {"instance": "n1:8000", "num_gpu_blocks": "9", "block_size": "16"}, 1.0)
    other = Series("vllm:cache_config_info", {"instance": "n2:8000", "num_gpu_blocks": "9", "block_size": "16"}, 1.0)
    told = kvtop_servers(by_name([info]), synthetic_pids)
    merged = deduplicate(told, vllm_servers(by_name([own, other]), [], synthetic_pids))
    assert [it.id for it in merged] == ["n2:8000", "n1 127.0.0.1:8000"]
    assert merged[1].pools[0].capacity_tokens == 144


def test_without_known_cards_nothing_is_planned() -> None:
    rows = [
        Series("vllm:cache_config_info", {"instance": "v:1", "num_gpu_blocks": "9", "block_size": "16"}, 1.0),
        Series("vllm:kv_cache_usage_perc", {"instance": "v:1", "model_name": "m"}, 0.5),
    ]
    (reading,) = vllm_servers(by_name(rows), [], SyntheticPids())
    assert reading.launch is None


@pytest.fixture
def lying_server() -> Iterator[tuple[str, dict[str, Any], list[tuple[str, str | None]]]]:
    """A server that answers every query with `answer["body"]`; requests are noted as (path, Authorization)."""
    answer: dict[str, Any] = {"status": 200, "body": b""}
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(answer["status"])
            self.send_header("Location", "http://192.0.2.1/")
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, *_: object) -> None:
            return

    target = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    target.handle_error = lambda *_: None  # type: ignore[method-assign]  # after one bad answer the client hangs up
    Thread(target=target.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{target.server_port}", answer, asked
    target.shutdown()
    target.server_close()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"hello", "not an answer of a metrics server"),
        (200, b'{"status": "success", "data": {"resultType": "matrix", "result": []}}', "no vector"),
        (400, b'{"status": "error", "error": "parse \\u001b[31m error"}', "parse"),
        (401, b"", "wants a key"),
        (302, b"", "redirects are not followed"),
        (503, b"x" * 100, "503"),
    ],
)
def test_what_a_server_can_say_wrong_is_a_failure_in_words(
    lying_server: tuple[str, dict[str, Any], list[tuple[str, str | None]]], status: int, body: bytes, words: str
) -> None:
    url, answer, asked = lying_server
    answer |= {"status": status, "body": body}
    sample: Sample = take_fleet_sample(FleetOptions(url, token="t0ken"))
    assert sample.servers == ()
    (failure,) = sample.failures
    assert words in failure.message
    assert "\x1b" not in failure.message
    assert {path.partition("?")[0] for path, _ in asked} <= {QUERY, TARGETS.partition("?")[0]}
    assert {key for _, key in asked} == {"Bearer t0ken"}


def test_hostile_labels_are_only_texts(
    lying_server: tuple[str, dict[str, Any], list[tuple[str, str | None]]],
) -> None:
    url, answer, _ = lying_server
    attack = "\x1b]0;owned\x07\u202e<script>"
    common = dict.fromkeys(("job", "instance", "server", "device"), attack)
    told: list[tuple[str, dict[str, str], str]] = [
        ("kvtop_server_info", {"engine": attack, "model": "x" * 100_000}, "1"),
        ("kvtop_process_memory_driver_bytes", {}, "1e308"),
        ("kvtop_process_memory_bytes", {"segment": "weights"}, "-5"),
        ("kvtop_device_memory_total_bytes", {"name": attack, "backend": attack}, "NaN"),
        ("kvtop_device_memory_used_bytes", {}, "7"),
        ("vllm:cache_config_info", {"num_gpu_blocks": "9" * 400, "block_size": "-1"}, "1"),
        ("vllm:kv_cache_usage_perc", {"engine": "x"}, "+Inf"),
    ]
    labels = [({"__name__": name, **common, **extra}, value) for name, extra, value in told]
    rows: list[object] = [{"metric": metric, "value": [time.time(), value]} for metric, value in labels]
    rows += [{"metric": 5}, {"value": []}, 7, {"metric": {}, "value": [1]}]
    answer["body"] = json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}).encode()
    frame = frame_of(url)
    shown = repr(frame)
    assert frame.servers
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "\\x1b" not in shown
    assert len(shown) < 60_000
