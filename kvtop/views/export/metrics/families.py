"""One Frame as metric families: names, units and labels of what kvtop tells a metrics server.

A series whose value is unknown is left out, never 0. No label holds a pid: pids change, and every change would be a new
series for ever.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvtop.domain.device import DeviceState
from kvtop.domain.driver import REMOTE_HOST_DRIVER
from kvtop.domain.figure import Basis
from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.memory import Segment
from kvtop.domain.server import ServerState
from kvtop.views.export.metrics.places import Labels, place, placed
from kvtop.views.segment_table import SEGMENT_TABLE


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `name` is without `_total` or `_info`; `kind` is "gauge", "counter" or "info"; `unit` may be ""."""

    name: str
    kind: str
    unit: str
    help: str
    rows: tuple[tuple[Labels, float], ...]


_OLD_BASIS = {Basis.MEASURED: "driver"}
"""What the label `source` of the deprecated family calls a basis."""
_ANSWERED = frozenset({ServerState.READY, ServerState.LOADING, ServerState.SLEEPING, ServerState.LOCKED})
_UNHEARD = frozenset({ServerState.UNREACHABLE, ServerState.ERROR})


def families(frame: Frame) -> tuple[Family, ...]:
    """Every family that has at least one known value."""
    names = server_names(frame.servers)
    servers = tuple((names[view.reading.id], view) for view in frame.servers)
    every = (*_of_devices(frame), *_of_memory(frame, servers), *_of_caches(servers), *_of_servers(frame, servers))
    places = {name: place(view) for name, view in servers}
    return tuple(Family(it.name, it.kind, it.unit, it.help, placed(it.rows, places)) for it in every if it.rows)


def collection_families(duration_seconds: float, errors: Mapping[str, int]) -> tuple[Family, ...]:
    """What a collector says of its own work: seconds of the last round, and failures by source since it started."""
    return (
        _gauge(
            "collect_duration_seconds",
            "seconds",
            "How long the last round of measuring took.",
            [((("source", "all"),), duration_seconds)],
        ),
        Family(
            "kvtop_collect_errors",
            "counter",
            "",
            "What could not be read, once a round, since the exporter started.",
            tuple(((("source", name),), float(count)) for name, count in sorted(errors.items()))
            or (((("source", "all"),), 0.0),),
        ),
    )


def server_names(servers: Iterable[ServerView]) -> dict[str, str]:
    """A label value for each server id: the id itself, or engine and number where the id would be a pid."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for view in servers:
        reading = view.reading
        if not reading.id.startswith("pid "):
            names[reading.id] = reading.id
            continue
        counts[reading.engine] = counts.get(reading.engine, 0) + 1
        names[reading.id] = f"{reading.engine}#{counts[reading.engine]}"
    return names


def _gauge(name: str, unit: str, text: str, rows: Iterable[tuple[Labels, float | int | None]]) -> Family:
    known = tuple((labels, float(value)) for labels, value in rows if value is not None)
    return Family(f"kvtop_{name}", "gauge", unit, text, known)


def _of_devices(frame: Frame) -> Iterable[Family]:
    devices = [view.device for view in frame.devices]
    keys = [(("device", it.id), ("uuid", it.uuid or ""), ("backend", it.driver.name)) for it in devices]
    # Figures of a device that no longer answers are old: a scrape has no way to say so, so they are left out.
    memories = [it.memory if it.state is DeviceState.OK else None for it in devices]
    yield _gauge(
        "device_memory_total_bytes",
        "bytes",
        "Size of the device's memory.",
        [((*key, ("name", it.name)), it.memory.total_bytes) for key, it in zip(keys, devices, strict=True)],
    )
    yield _gauge(
        "device_memory_used_bytes",
        "bytes",
        "Used, as the driver reports it.",
        [(key, it.used_bytes if it else None) for key, it in zip(keys, memories, strict=True)],
    )
    yield _gauge(
        "device_memory_reserved_bytes",
        "bytes",
        "Reserved by driver and firmware, where reported.",
        [(key, it.reserved_bytes if it else None) for key, it in zip(keys, memories, strict=True)],
    )


def _of_memory(frame: Frame, servers: tuple[tuple[str, ServerView], ...]) -> Iterable[Family]:
    splits = [(name, view, split) for name, view in servers for split in view.splits]
    told = [
        ((("server", name), ("device", split.device_id), ("engine", view.reading.engine)), segment, figure)
        for name, view, split in splits
        for segment, figure in split.memory.parts
    ]
    yield _gauge(
        "server_memory_bytes",
        "bytes",
        "Memory by segment; segments of one server and device add up to the driver's number.",
        [
            ((*key, ("segment", segment.value), ("basis", figure.basis.value)), figure.value_bytes)
            for key, segment, figure in told
        ],
    )
    yield _gauge(
        "process_memory_bytes",
        "bytes",
        "Deprecated: kvtop_server_memory_bytes, with other words for runtime, recurrent_state and basis.",
        [
            (
                (
                    *key,
                    ("segment", SEGMENT_TABLE[segment].old_metric or segment.value),
                    ("source", _OLD_BASIS.get(figure.basis, figure.basis.value)),
                ),
                figure.value_bytes,
            )
            for key, segment, figure in told
        ],
    )
    yield _gauge(
        "process_memory_driver_bytes",
        "bytes",
        "What the driver or the kernel says of the server's processes.",
        [((("server", name), ("device", split.device_id)), split.driver.value_bytes) for name, _, split in splits],
    )
    free = {view.device.id: view.device.memory.free_bytes for view in frame.devices}
    predicted, headroom = [], []
    for name, view in servers:
        known = _predicted(view)
        if known is None:
            continue
        context, total, by_device = known
        cache = (("context", context), ("kv_type", _cache_types(view)))
        predicted.append(((("server", name), *cache), total))
        for split, planned in zip(view.splits, by_device, strict=True):
            room = free.get(split.device_id)
            if room is not None and split.driver.value_bytes is not None:
                labels = (("server", name), ("device", split.device_id), *cache)
                headroom.append((labels, room + split.driver.value_bytes - planned))
    yield _gauge("predicted_memory_bytes", "bytes", "Planned total at that context and cache type.", predicted)
    yield _gauge("predicted_headroom_bytes", "bytes", "Free if it were started now; negative will not fit.", headroom)


def _predicted(view: ServerView) -> tuple[str, int, list[int]] | None:
    """(context, planned bytes in all, by device); None where a segment of the plan is unknown."""
    if view.plan is None or view.plan.context is None or not view.splits:
        return None
    by_device = []
    for split in view.splits:
        sizes = [figure.value_bytes for segment, figure in split.memory.parts if segment is not Segment.UNATTRIBUTED]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return None
        by_device.append(sum(known))
    return str(view.plan.context.n_ctx), sum(by_device), by_device


def _cache_types(view: ServerView) -> str:
    type_k, type_v = view.kv_cache.type_k or "unknown", view.kv_cache.type_v or "unknown"
    return type_k if type_k == type_v else f"{type_k}/{type_v}"


def _of_caches(servers: tuple[tuple[str, ServerView], ...]) -> Iterable[Family]:
    def each(name: str) -> Labels:
        return (("server", name),)

    def main(name: str) -> Labels:
        return (("server", name), ("cache", "main"))

    capacity = [(main(name), view.kv_cache.capacity_tokens) for name, view in servers]
    yield _gauge("kv_cache_capacity_tokens", "tokens", "Tokens the KV cache can hold.", capacity)
    used = [(main(name), view.kv_cache.used_tokens) for name, view in servers]
    yield _gauge(
        "kv_cache_used_tokens", "tokens", "Tokens of all sequences; a prefix they share counts once for each.", used
    )
    ratio = [(each(name), view.kv_cache.used_ratio) for name, view in servers]
    yield _gauge("kv_cache_used_ratio", "ratio", "Share of the KV cache in use, 0 to 1.", ratio)
    per_token = [(each(name), view.kv_cache.bytes_per_token) for name, view in servers]
    text = "KV bytes per token over all layers that grow with the context and all devices."
    yield _gauge("kv_cache_per_token_bytes", "bytes", text, per_token)
    fixed = [(each(name), _fixed_bytes(view)) for name, view in servers]
    yield _gauge("kv_cache_fixed_bytes", "bytes", "State and windows that do not grow with the context.", fixed)
    contexts = [
        ((("server", name), ("kind", kind)), value)
        for name, view in servers
        for kind, value in (
            (
                "configured",
                view.plan.context.n_ctx if view.plan is not None and view.plan.context is not None else None,
            ),
            ("per_slot", view.reading.slot_context_tokens),
            ("trained", view.reading.model.trained_context_tokens),
        )
    ]
    yield _gauge("context_length_tokens", "tokens", "Context length: as configured, of one slot, as trained.", contexts)


def _fixed_bytes(view: ServerView) -> int | None:
    if view.plan is None:
        return None
    return sum(it.size_bytes for it in view.plan.cache_parts if it.cells is None or it.kind == "sliding_window")


def _of_servers(frame: Frame, servers: tuple[tuple[str, ServerView], ...]) -> Iterable[Family]:
    slots = [((("server", name),), view.reading.slot_count) for name, view in servers]
    yield _gauge("server_slots", "", "Parallel sequences.", slots)
    up = [((("server", name),), _up(view.reading.state)) for name, view in servers]
    yield _gauge("server_up", "", "Whether the endpoint answered.", up)
    found = {
        (("server", name), ("rule", it.code), ("severity", it.severity)): 1
        for name, view in servers
        for it in view.findings
    }
    yield _gauge("finding", "", "1 while a rule fires.", found.items())
    text = "(computed - reported) / reported, where both exist and rounding does not explain the difference."
    yield _gauge("estimate_error_ratio", "ratio", text, _errors(servers))
    info = [(_info(name, view), 1.0) for name, view in servers]
    yield Family("kvtop_server", "info", "", "What a server runs.", tuple(info))
    yield _gauge("source_up", "", "Whether a source of measurements answers.", _sources(frame))
    version = ((("version", frame.kvtop_version),), 1.0)
    if frame.is_demo:
        yield _gauge("demo", "", "1 where the host is invented; absent where it was measured.", [((), 1.0)])
    yield Family("kvtop_build", "info", "", "Version of kvtop.", (version,))


def _errors(servers: tuple[tuple[str, ServerView], ...]) -> list[tuple[Labels, float]]:
    """By server and segment, over all devices."""
    sums: dict[Labels, tuple[int, int]] = {}
    for name, view in servers:
        for it in view.disagreements:
            labels = (("server", name), ("segment", it.segment))
            computed, reported = sums.get(labels, (0, 0))
            sums[labels] = (computed + it.computed, reported + it.reported)
    return [(labels, computed / reported - 1) for labels, (computed, reported) in sums.items() if reported]


def _up(state: ServerState) -> int | None:
    return 1 if state in _ANSWERED else 0 if state in _UNHEARD else None


def _info(name: str, view: ServerView) -> Labels:
    reading, cache, plan = view.reading, view.kv_cache, view.plan
    flash = None if plan is None or plan.flash_attention is None else "on" if plan.flash_attention else "off"
    pairs = (
        ("server", name),
        ("engine", reading.engine),
        ("version", reading.version),
        ("model", reading.model.name or reading.model.path),
        ("model_format", _format(view)),
        ("weight_quant", reading.model.quantization),
        ("kv_type_k", cache.type_k),
        ("kv_type_v", cache.type_v),
        ("flash_attention", flash),
    )
    return tuple((label, value) for label, value in pairs if value is not None)


def _format(view: ServerView) -> str | None:
    """The kind of model file, where something says it."""
    path = view.reading.model.path or view.reading.model_key or ""
    return "gguf" if path.lower().endswith(".gguf") else view.model_format


def _sources(frame: Frame) -> list[tuple[Labels, int]]:
    up: dict[str, int] = {}
    for view in frame.devices:
        device, fine = view.device, int(view.device.state is DeviceState.OK)
        if device.is_host:
            up.setdefault("proc", 1)
        elif device.driver != REMOTE_HOST_DRIVER:
            up[device.driver.name] = min(up.get(device.driver.name, 1), fine)
    if frame.servers and "proc" not in up and all(view.reading.is_remote for view in frame.servers):
        up["prometheus"] = 1  # a cluster: no memory of this machine is among its devices
    for failure in frame.failures:
        if failure.source == frame.host:
            up["prometheus"] = 0
        if failure.is_of_driver:
            up[failure.source] = 0
        if failure.source == "processes":
            up["proc"] = 0
    return [((("source", name),), value) for name, value in sorted(up.items())]
