"""A cluster out of series: cards, pods, engines, shared cards, lost servers; and a real Prometheus at the end."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.device import Device
from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.sample import Sample
from kvtop.domain.server import Counters, ServerState
from kvtop.sources.fleet import FleetOptions, take_fleet_sample
from kvtop.sources.fleet.cards import SyntheticPids, dcgm_cards, deduplicate, kvtop_cards
from kvtop.sources.fleet.series import Series, by_name, finite, vector
from kvtop.sources.fleet.servers import kvtop_servers, lost_servers, vllm_servers

GIB = 1024**3
POD_A = {"namespace": "llm", "pod": "vllm-a-0"}
CACHE_LABELS = {"block_size": "16", "cache_dtype": "auto", "num_gpu_blocks": "27000", "engine": "0"}


def series(name: str, value: float, /, **labels: str) -> Series:
    return Series(name, labels, value)


def card(gpu: str, pod: dict[str, str], used_mib: float = 70000) -> list[Series]:
    labels = {"gpu": gpu, "Hostname": "n1", "UUID": f"GPU-{gpu}", "modelName": "NVIDIA H100 80GB HBM3", **pod}
    return [
        Series("DCGM_FI_DEV_FB_USED", labels, used_mib),
        Series("DCGM_FI_DEV_FB_FREE", labels, 81559 - used_mib - 500),
        Series("DCGM_FI_DEV_FB_RESERVED", labels, 500),
    ]


def test_answers_that_are_no_vectors_are_told_in_the_servers_words() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        vector({"status": "error", "errorType": "bad_data", "error": "unclosed left parenthesis"})
    with pytest.raises(ValueError, match="holds no vector"):
        vector({"status": "success", "data": {"resultType": "matrix", "result": []}})
    row = {"metric": {"__name__": "up", "instance": "a:1"}, "value": [1.0, "NaN"]}
    (found,) = vector({"status": "success", "data": {"resultType": "vector", "result": [row, {"metric": 3}]}})
    assert (found.name, found.whole, found.target) == ("up", None, "a:1")


def test_a_card_is_its_pods_and_a_shared_one_nobodys() -> None:
    synthetic_pids = SyntheticPids()
    alone, *_ = dcgm_cards(by_name(card("0", POD_A)), 1.0, synthetic_pids)
    assert alone.memory.total_bytes == 81559 * 1024**2
    assert alone.memory.used_bytes == 70000 * 1024**2
    assert alone.processes is not None
    assert [row.used_bytes for row in alone.processes] == [70000 * 1024**2]
    assert all(row.pid < 0 for row in alone.processes)
    other = {"namespace": "llm", "pod": "b"}
    shared, *_ = dcgm_cards(by_name([*card("0", POD_A), *card("0", other)]), 1.0, synthetic_pids)
    assert shared.processes is not None
    assert [row.used_bytes for row in shared.processes] == [None, None]
    assert "2 pods share it" in shared.note
    free, *_ = dcgm_cards(by_name(card("1", {})), 1.0, synthetic_pids)
    assert free.processes is None


def test_a_card_that_both_exporters_tell_of_is_taken_once() -> None:
    synthetic_pids = SyntheticPids()
    total = series("kvtop_device_memory_total_bytes", 1.0, instance="n1:9941", device="gpu0", uuid="GPU-0", name="H100")
    ours = kvtop_cards(by_name([total]), 1.0, synthetic_pids)
    both = deduplicate(ours, dcgm_cards(by_name([*card("0", POD_A), *card("1", POD_A)]), 1.0, synthetic_pids))
    assert [it.id for it in both] == ["n1:gpu0", "n1:gpu1"]


def _vllm(devices: list[Device], *rows: Series) -> list[str]:
    return [it.id for it in vllm_servers(by_name(rows), devices, SyntheticPids())]


def test_engines_of_one_pod_are_pools_of_one_server_and_old_names_count() -> None:
    rows = [
        series("vllm:cache_config_info", 1, **{**POD_A, **CACHE_LABELS}),
        series("vllm:cache_config_info", 1, **{**POD_A, **CACHE_LABELS, "engine": "1"}),
        series("vllm:gpu_cache_usage_perc", 0.42, **POD_A, engine="0", model_name="m"),
        series("vllm:kv_cache_usage_perc", 7.0, **POD_A, engine="1", model_name="m"),
        series("vllm:kv_cache_usage_perc", 0.5, instance="10.0.0.9:8000", model_name="n"),
    ]
    first, second = vllm_servers(by_name(rows), [], SyntheticPids())
    assert (first.id, second.id) == ("10.0.0.9:8000", "llm/vllm-a-0")
    assert [(it.block_count, it.capacity_tokens, it.used_ratio) for it in second.pools] == [
        # The sum over both engines stands on each of them.
        (13500, 216000, 0.42),
        (13500, 216000, None),  # 7.0 is no share: unknown, not full
    ]
    assert second.model.name == "m"
    assert second.is_remote


NEW = ("kvtop_server_memory_bytes", {"basis": "computed"}, "recurrent_state")
OLD = ("kvtop_process_memory_bytes", {"source": "computed"}, "state")


@pytest.mark.parametrize("exported", [(NEW,), (OLD,), (NEW, OLD)], ids=["new", "old", "both"])
def test_kvtops_own_series_carry_the_split(exported: tuple[tuple[str, dict[str, str], str], ...]) -> None:
    """Exporters of the last version have one name for it, those of this one have both."""
    labels = {"instance": "n2:9941", "server": "127.0.0.1:8080", "device": "gpu0"}
    rows = [
        series("kvtop_server_info", 1, **labels, engine="llama.cpp", model="Gemma", kv_type_k="q8_0"),
        series("kvtop_server_up", 1, **labels),
        series("kvtop_device_memory_total_bytes", 24 * GIB, instance="n2:9941", device="gpu0", uuid="", backend="nvml"),
        series("kvtop_process_memory_driver_bytes", 19 * GIB, **labels),
        *(
            series(name, size_gib * GIB, **labels, segment=segment, **basis)
            for name, basis, state in exported
            for segment, size_gib in (("weights", 14), ("kv_cache", 3), (state, 1))
        ),
        series("kvtop_kv_cache_capacity_tokens", 32768, **labels, cache="main"),
        series("kvtop_kv_cache_used_ratio", 0.25, **labels),
    ]
    synthetic_pids = SyntheticPids()
    sample = Sample(
        1.0,
        "prom",
        tuple(kvtop_cards(by_name(rows), 1.0, synthetic_pids)),
        servers=tuple(kvtop_servers(by_name(rows), synthetic_pids)),
    )
    (view,) = analyse(History(), sample, "1").servers
    assert view.reading.id == "n2 127.0.0.1:8080"
    (split,) = view.splits
    assert split.driver.value_bytes == 19 * GIB
    assert (split.memory[Segment.WEIGHTS].value_bytes, split.memory[Segment.WEIGHTS].basis) == (
        14 * GIB,
        Basis.REPORTED,
    )
    assert split.memory[Segment.RECURRENT].value_bytes == GIB
    assert split.kv_used_bytes == round(3 * GIB * 0.25)
    assert sum(figure.value_bytes or 0 for _, figure in split.memory.parts) == 19 * GIB


def test_servers_that_are_gone_are_shown_as_such() -> None:
    seen = [
        series("vllm:cache_config_info", 1, instance="10.0.0.1:8000"),
        series("vllm:cache_config_info", 1, instance="10.0.0.2:8000"),
    ]
    present = vllm_servers(by_name(seen[:1]), [], SyntheticPids())
    (lost,) = lost_servers(seen, present, {"10.0.0.2:8000": "its target is down"})
    assert lost.state is ServerState.UNREACHABLE
    assert "its target is down" in lost.hint


class _Targets(BaseHTTPRequestHandler):
    """A DCGM exporter, two vLLM servers and a kvtop exporter, by path."""

    pages: dict[str, str]

    def do_GET(self) -> None:
        body = self.pages.get(self.path, "").encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _page(rows: list[Series]) -> str:
    lines = []
    for it in rows:
        labels = ",".join(f'{name}="{text}"' for name, text in it.labels.items())
        lines.append(f"{it.name}{{{labels}}} {it.value}")
    return "\n".join(lines) + "\n"


@contextmanager
def _served(pages: dict[str, str]) -> Iterator[int]:
    handler = type("Targets", (_Targets,), {"pages": pages})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _prometheus(directory: Path, targets_port: int, paths: list[str], dead: str) -> Iterator[str]:
    with _served({}) as free:
        port = free  # released again right before Prometheus takes it
    static = [{"targets": [f"127.0.0.1:{targets_port}"]}]
    jobs: list[dict[str, object]] = [
        {
            "job_name": path.strip("/"),
            "metrics_path": path,
            "static_configs": static,
            "relabel_configs": [{"target_label": "instance", "replacement": f"{path.strip('/')}:1"}],
        }
        for path in paths
    ]
    jobs.append({"job_name": "gone", "static_configs": [{"targets": [dead]}]})
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
    (directory / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=120)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's prometheus is not installed")
def test_a_real_prometheus_with_several_targets(tmp_path: Path, dead_address: str) -> None:
    pages = {
        "/dcgm": _page([*card("0", POD_A), *card("1", {"namespace": "llm", "pod": "vllm-b-0"}, 61000)]),
        "/vllm-a": _page(
            [
                series("vllm:cache_config_info", 1, **{**POD_A, **CACHE_LABELS}),
                series("vllm:kv_cache_usage_perc", 0.42, **POD_A, engine="0", model_name="tiny"),
            ]
        ),
        "/vllm-b": _page(
            [
                series("vllm:cache_config_info", 1, namespace="llm", pod="vllm-b-0", **CACHE_LABELS),
                series("vllm:kv_cache_usage_perc", 0.9, namespace="llm", pod="vllm-b-0", engine="0", model_name="tiny"),
            ]
        ),
        "/kvtop": _page([series("kvtop_server_info", 1, server="127.0.0.1:8080", engine="llama.cpp", model="G")]),
    }

    def until(url: str, holds: Callable[[Sample], bool]) -> Sample:
        ends = time.monotonic() + 180
        while not holds(sample := take_fleet_sample(FleetOptions(url))) and time.monotonic() < ends:
            time.sleep(0.5)
        return sample

    def complete(sample: Sample) -> bool:
        return (len(sample.servers), len(sample.devices), len(sample.failures)) == (3, 2, 1)

    with _served(pages) as targets, _prometheus(tmp_path, targets, list(pages), dead_address) as url:
        sample = until(url, complete)
        assert [it.id for it in sample.servers] == ["llm/vllm-a-0", "llm/vllm-b-0", "kvtop 127.0.0.1:8080"]
        assert [it.source for it in sample.failures] == [f"target {dead_address}"]
        frame = analyse(History(), sample, "1")
        (split,) = frame.servers[0].splits
        assert split.driver.value_bytes == 70000 * 1024**2
        assert frame.servers[0].kv_cache.used_tokens == round(0.42 * 26999 * 16)
        del pages["/vllm-b"]
        lost = until(url, lambda it: any(row.state is ServerState.UNREACHABLE for row in it.servers))
        assert [it.state for it in lost.servers if it.engine == "vllm"] == [ServerState.READY, ServerState.UNREACHABLE]
        assert "its target is down" in lost.servers[-1].hint or "no metrics" in lost.servers[-1].hint


def test_no_metrics_server_is_a_failure_and_no_crash(dead_address: str) -> None:
    sample = take_fleet_sample(FleetOptions(f"http://user:secret@{dead_address}"))
    assert sample.servers == ()
    assert sample.host == dead_address
    (failure,) = sample.failures
    assert "secret" not in repr(failure)


def test_what_two_collectors_tell_is_told_once() -> None:
    labels = {"instance": "n1:8000", "engine": "0", "model_name": "m"}
    rows = [
        series(name, value, **labels, **collector)
        for name, value in (("vllm:kv_cache_usage_perc", 0.5), ("vllm:generation_tokens_total", 100.0), ("up", 0.0))
        for collector in ({"job": "a"}, {"job": "b", "endpoint": "http"}, {"job": "a", "prometheus_replica": "1"})
    ]
    found = by_name([*rows, series("up", 1.0, **labels, job="c")])
    assert {name: [it.value for it in rows] for name, rows in found.items()} == {
        "vllm:kv_cache_usage_perc": [0.5],
        "vllm:generation_tokens_total": [100.0],
        "up": [1.0],  # one of them reaches it
    }
    (server,) = vllm_servers(found, [], SyntheticPids())
    assert server.counters.generated_tokens_total == 100.0
    other = by_name([*rows, series("vllm:kv_cache_usage_perc", 0.7, **labels, cluster="b")])
    assert len(other["vllm:kv_cache_usage_perc"]) == 2, "another cluster is another place"


def test_the_blocks_of_data_parallel_engines_are_counted_once() -> None:
    names = {"block_size": "16", "num_gpu_blocks": "512"}
    rows = [series("vllm:cache_config_info", 1, instance="a:1", engine=str(engine), **names) for engine in range(2)]
    (server,) = vllm_servers(by_name(rows), [], SyntheticPids())
    assert [(it.block_count, it.capacity_tokens) for it in server.pools] == [(256, 4096)] * 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_unknown(value: float) -> None:
    labels = {"instance": "n2:9941", "server": "127.0.0.1:8080"}
    names = ("kvtop_kv_cache_capacity_tokens", "kvtop_kv_cache_used_ratio", "kvtop_kv_cache_used_tokens")
    ours = [
        series("kvtop_server_info", 1, **labels, engine="llama.cpp"),
        *(series(it, value, **labels) for it in names),
    ]
    theirs = ("vllm:num_requests_running", "vllm:generation_tokens_total", "vllm:kv_cache_usage_perc")
    rows = [
        series("vllm:cache_config_info", 1, instance="a:1", **CACHE_LABELS),
        *(series(it, value, instance="a:1", engine="0") for it in theirs),
    ]
    found = finite(by_name([*ours, *rows]))
    told, own = *kvtop_servers(found, SyntheticPids()), *vllm_servers(found, [], SyntheticPids())
    assert told.pools == ()
    assert own.counters == Counters()
    assert (own.pools[0].used_ratio, own.pools[0].requests_running) == (None, None)
