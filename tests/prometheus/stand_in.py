"""A Prometheus that is none: it answers kvtop's own questions about an invented cluster of any size.

It stands in where thousands of targets are wanted, and where a metrics server has to fail on demand; what a real one
answers is tested beside it.
"""

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

Labels = Mapping[str, str]
Row = tuple[str, Labels, float]
_NAMES = re.compile(r'=~"([^"]*)"')
_WORD = re.compile(r"[a-zA-Z_:][\w:]*")


@dataclass
class Cluster:
    """What is scraped. `fails` says for a query with which status it is refused, or None."""

    rows: list[Row]
    fails: Callable[[str], int | None] = lambda _: None
    warnings: tuple[str, ...] = ()
    scraped_at: Callable[[], float] = time.time
    rates: Mapping[str, float] = field(default_factory=dict)
    """By metric name: what rate() of it gives for every owner."""
    asked: list[str] = field(default_factory=list)
    sent_bytes: list[int] = field(default_factory=list)

    def answer(self, query: str) -> list[object]:
        """The rows of an instant vector."""
        now = time.time()
        pattern = _NAMES.search(query)
        names = re.compile(pattern[1] if pattern else "|".join(_WORD.findall(query)))
        found = [row for row in self.rows if names.fullmatch(row[0])]
        if query.startswith("rate("):
            return [_row("", labels, self.rates.get(name, 0.0), now) for name, labels, _ in found]
        if query.startswith("timestamp("):
            return [_row("", labels, self.scraped_at(), now) for _, labels, _ in found]
        return [_row(name, labels, value, now) for name, labels, value in found]


def _row(name: str, labels: Labels, value: float, now: float) -> object:
    metric = {**({"__name__": name} if name else {}), **labels}
    return {"metric": metric, "value": [now, repr(value)]}


@contextmanager
def standing_in(cluster: Cluster) -> Iterator[str]:
    """Its address while it runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query).get("query", [""])[0]
            cluster.asked.append(query)
            status = cluster.fails(query)
            body: dict[str, object] = {"status": "error", "error": "refused by the test"}
            if status is None:
                body = {"status": "success", "data": {"resultType": "vector", "result": cluster.answer(query)}}
                body |= {"warnings": list(cluster.warnings)} if cluster.warnings else {}
            content = json.dumps(body).encode()
            self.send_response(status or 200)
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                content = gzip.compress(content, 1)
                self.send_header("Content-Encoding", "gzip")
            cluster.sent_bytes.append(len(content))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def vllm_rows(pod: str, used_ratio: float = 0.3, prefix: str = "vllm:", **more: str) -> list[Row]:
    """What a vLLM 0.32 pod exports of what kvtop asks for."""
    place = {"namespace": "llm", "pod": pod, "instance": f"{pod}:8000", "job": "vllm", "container": "server", **more}
    one = {**place, "engine": "0", "model_name": "Qwen/Qwen3-32B"}
    cache = {**place, "engine": "0", "block_size": "16", "num_gpu_blocks": "20000", "cache_dtype": "auto"}
    cache |= {"gpu_memory_utilization": "0.92", "enable_prefix_caching": "True", "kv_cache_size_tokens": "319984"}
    gauges = {
        "kv_cache_usage_perc": used_ratio,
        "num_requests_running": 4.0,
        "num_requests_waiting": 1.0,
        "prompt_tokens_total": 1e6,
        "generation_tokens_total": 2e6,
        "num_preemptions_total": 3.0,
        "prefix_cache_queries_total": 1e6,
        "prefix_cache_hits_total": 5e5,
    }
    rows: list[Row] = [(f"{prefix}cache_config_info", cache, 1.0)]
    rows += [(f"{prefix}{name}", one, value) for name, value in gauges.items()]
    waiting = {"capacity": 1.0, "deferred": 0.0}
    rows += [(f"{prefix}num_requests_waiting_by_reason", {**one, "reason": why}, n) for why, n in waiting.items()]
    return [*rows, ("up", place, 1.0)]


def card_rows(node: str, gpu: int, pod: str, **more: str) -> list[Row]:
    """What DCGM's exporter says of a card that a pod has to itself."""
    labels = {"Hostname": node, "gpu": str(gpu), "UUID": f"GPU-{node}-{gpu}", "modelName": "NVIDIA H100 80GB HBM3"}
    labels |= {"exported_namespace": "llm", "exported_pod": pod, "instance": f"{node}:9400", "job": "dcgm", **more}
    values = {"FB_USED": 70000.0, "FB_FREE": 11000.0, "FB_RESERVED": 559.0}
    values |= {"GPU_UTIL": 80.0, "GPU_TEMP": 61.0, "POWER_USAGE": 512.0}
    return [(f"DCGM_FI_DEV_{name}", labels, value) for name, value in values.items()]


def cluster_of(servers: int, cards_each: int = 3) -> list[Row]:
    """Pods with their cards on nodes of eight."""
    rows: list[Row] = []
    card = 0
    for number in range(servers):
        pod = f"chat-{number // 100}-{number:05d}"
        rows += vllm_rows(pod)
        for _ in range(cards_each):
            rows += card_rows(f"node{card // 8:05d}", card % 8, pod)
            card += 1
    return rows
