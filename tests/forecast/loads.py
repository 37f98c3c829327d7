"""Recorded loads (tools/record_loads), read again by kvtop's own adapters, a reading a second."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import zstandard

from kvtop.domain.plan import ContextPlan, MemoryPlan
from kvtop.domain.server import ServerReading
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import llamacpp, vllm

FOLDER = Path(__file__).parents[1] / "fixtures" / "loads"
SUFFIX = ".jsonl.zst"


@dataclass(frozen=True, slots=True)
class Load:
    """One recorded shape: readings by second, and when its cache was full, by what became of its requests."""

    name: str
    plan: MemoryPlan | None
    readings: tuple[tuple[float, ServerReading], ...]
    fills: tuple[float, ...] = field(default=())


def all_loads(folder: Path = FOLDER) -> Iterator[Load]:
    """Every recorded shape, by name."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        yield load_of(path)


def load_of(path: Path) -> Load:
    """The shape of one file."""
    content = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    head, *lines = [json.loads(line) for line in content.decode().splitlines()]
    ticks = [line for line in lines if "event" not in line]
    ended = [(line["at"], line["event"]) for line in lines if "event" in line]
    if head["engine"] == "llama.cpp":
        unified = head["is_unified"]
        context = ContextPlan(head["cells"], head["cells"] if unified else head["cells"] // 4, 4, unified)
        plan = MemoryPlan("llama.cpp", "llama.cpp b11434", "m", "llama", (), 1.0, (), context=context)
        readings = tuple(_llama_readings(head, ticks))
        fills = _apart([at for at, why in ended if why.startswith(("cut", "refused"))])
        return Load(head["shape"], plan, readings, fills)
    found = tuple(_vllm_readings(head, ticks))
    return Load(head["shape"], None, found, _apart(_pool_is_short(found)))


def _llama_readings(head: dict[str, Any], ticks: list[dict[str, Any]]) -> Iterator[tuple[float, ServerReading]]:
    launch = parse_llama_server(head["options"], {}, ())
    props = {"default_generation_settings": {"n_ctx": 0}, "total_slots": 4, "endpoint_slots": True}
    metrics: dict[str, str] = {}
    shown, metrics_at = b"", -1e9
    for tick in ticks:
        metrics |= tick["metrics"]
        if tick["at"] - metrics_at >= llamacpp.SELDOM_SECONDS[llamacpp.METRICS]:
            shown, metrics_at = _text(metrics), tick["at"]
        replies = {
            llamacpp.PROPS: Reply(llamacpp.PROPS, 200, json.dumps(props).encode(), "llama.cpp"),
            llamacpp.SLOTS: Reply(llamacpp.SLOTS, 200, json.dumps(tick["slots"]).encode()),
            llamacpp.METRICS: Reply(llamacpp.METRICS, 200, shown),
        }
        yield tick["at"], llamacpp.read(ServerInputs("127.0.0.1:8080", "http://127.0.0.1:8080", replies, launch))


def _vllm_readings(head: dict[str, Any], ticks: list[dict[str, Any]]) -> Iterator[tuple[float, ServerReading]]:
    launch = parse_serve_options(["small", *head["options"]])
    limit = int(launch.value("max-model-len") or 0)
    models = {"data": [{"id": "tiny", "root": "small", "owned_by": "vllm", "max_model_len": limit}]}
    metrics: dict[str, str] = {}
    for tick in ticks:
        metrics |= tick["metrics"]
        replies = {
            vllm.METRICS: Reply(vllm.METRICS, 200, _text(metrics)),
            vllm.MODELS: Reply(vllm.MODELS, 200, json.dumps(models).encode()),
        }
        reading = vllm.read(ServerInputs("127.0.0.1:8000", "http://127.0.0.1:8000", replies, launch))
        yield tick["at"], replace(reading, is_remote=False)


def _text(metrics: dict[str, str]) -> bytes:
    return "".join(f"{name} {value}\n" for name, value in metrics.items()).encode()


def _pool_is_short(readings: tuple[tuple[float, ServerReading], ...]) -> list[float]:
    """When vLLM's own figures say that the pool had no room.

    A request waits for more than a second although fewer run than may, or one was thrown out. A prompt waits for a step
    or two in any pool, so the pool must be half full besides.
    """
    found: list[float] = []
    preemptions, waited = readings[0][1].counters.preemptions_total or 0.0, False
    for at, reading in readings:
        counters, (pool,) = reading.counters, reading.pools
        total = counters.preemptions_total or 0.0
        may_more_run = (counters.requests_processing or 0) < (reading.concurrent_sequences_limit or 0)
        waits = bool(counters.requests_waiting) and may_more_run and (pool.used_ratio or 0) > 0.5
        if (waits and waited) or total > preemptions:
            found.append(at)
        preemptions, waited = total, waits
    return found


def _apart(times: list[float], seconds: float = 30.0) -> tuple[float, ...]:
    """One for a time that is full again and again."""
    kept: list[float] = []
    last = -1e9
    for at in sorted(times):
        if at - last > seconds:
            kept.append(at)
        last = at
    return tuple(kept)
