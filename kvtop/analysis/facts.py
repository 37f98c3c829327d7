"""Everything known of a server, each with the place where it was learnt."""

from kvtop.domain.frame import Fact, KvCacheView, Split
from kvtop.domain.launch import Origin
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.process import Process
from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.registry import engine_rules, traits_of
from kvtop.text import bytes_text


def facts(
    reading: ServerReading,
    cache: KvCacheView,
    plan: MemoryPlan | None,
    splits: tuple[Split, ...],
    processes: dict[int, Process],
) -> tuple[Fact, ...]:
    """In reading order: the process, the model, the launch, the endpoint, and what had to be assumed."""
    found = [*_of_processes(reading, processes), *_of_drivers(splits), *_of_model(reading), *_of_endpoint(reading)]
    options = reading.launch.options if reading.launch is not None else ()
    found += [Fact(option.name, option.value, option.origin, option.detail) for option in options]
    if reading.launch is not None:
        found += [Fact("unknown option", word, Origin.ARGV) for word in reading.launch.unknown]
    found += _of_types(reading, cache, plan)
    if (
        plan is not None
        and plan.flash_attention is not None
        and (reading.launch is None or reading.launch.value("flash-attn") in {None, "auto", "-1"})
    ):
        resolved = "on" if plan.flash_attention else "off"
        found.append(Fact("flash attention", resolved, Origin.ASSUMED, "what auto resolves to by the engine's rule"))
    return (*found, *_assumed(reading, plan))


def _assumed(reading: ServerReading, plan: MemoryPlan | None) -> list[Fact]:
    """What nobody said and a plan needs."""
    rules = engine_rules(reading.launch.engine) if reading.launch is not None else None
    if plan is None or rules is None:
        return []
    return [Fact(it.name, it.value, it.origin, it.detail) for it in rules.assumed_options(reading, plan)]


def _of_types(reading: ServerReading, cache: KvCacheView, plan: MemoryPlan | None) -> list[Fact]:
    """The cache types that no option names: the engine's own defaults."""
    traits = traits_of(reading.engine)
    if reading.launch is None or traits is None:
        return []
    names = traits.cache_type_options
    detail = plan.rules_version if plan is not None else reading.engine
    rows = (("cache type K", names[0], cache.type_k), ("cache type V", names[1], cache.type_v))
    return [
        Fact(label, value, Origin.DEFAULT, detail)
        for label, name, value in rows
        if value is not None and reading.launch.get(name) is None
    ]


def _of_processes(reading: ServerReading, processes: dict[int, Process]) -> list[Fact]:
    found = []
    for pid in reading.pids:
        process = processes.get(pid)
        if process is None:
            continue
        found.append(Fact("process", f"{pid} {process.name}", Origin.FILE, f"/proc/{pid}"))
        found += [
            Fact(name, value, Origin.ENVIRONMENT, f"/proc/{pid}/environ") for name, value in process.environ or ()
        ]
        if process.container is not None:
            found.append(Fact("container", process.container.label, Origin.FILE, f"/proc/{pid}/cgroup"))
        found += [Fact("not readable", what, Origin.FILE, f"/proc/{pid}") for what in process.unreadable]
    return found


def _of_drivers(splits: tuple[Split, ...]) -> list[Fact]:
    """Measured totals, or why there is none."""
    return [
        Fact(f"memory on {it.device_id}", bytes_text(it.driver.value_bytes), Origin.DRIVER, it.driver.source)
        for it in splits
        if it.driver.source
    ]


def _of_model(reading: ServerReading) -> list[Fact]:
    model = reading.model
    rows = (
        ("model name", model.name),
        ("model path", model.path),
        ("quantization", model.quantization),
        ("parameters", model.parameters),
        ("trained context", model.trained_context_tokens),
    )
    return [_told(reading, name, value) for name, value in rows if value is not None]


def _told(reading: ServerReading, name: str, value: object) -> Fact:
    """By the endpoint; or by the command line, where it says the same and the endpoint says nothing of it."""
    option = reading.launch.get("model") if reading.launch is not None else None
    traits = traits_of(reading.engine)
    is_up = reading.state in {ServerState.READY, ServerState.SLEEPING}
    speaks = is_up and traits is not None and traits.endpoint_describes_model
    is_unnamed = traits is not None and not traits.endpoint_names_model
    if option is not None and not speaks and (value == option.value or is_unnamed):
        return Fact(name, str(value), option.origin, option.detail)
    return _endpoint(name, value, reading.url)


def _of_endpoint(reading: ServerReading) -> list[Fact]:
    rows = (
        ("slots", reading.slot_count),
        ("context of a slot", reading.slot_context_tokens),
        ("longest sequence", reading.sequence_limit_tokens),
        ("sequences at once", reading.concurrent_sequences_limit),
    )
    found = [*_version(reading), *(_endpoint(name, value, reading.url) for name, value in rows if value is not None)]
    for pool in reading.pools:
        of = "" if len(reading.pools) == 1 else f" of engine {pool.engine_index}"
        known = (
            (f"KV blocks{of}", pool.block_count),
            (f"tokens a block{of}", pool.block_size_tokens),
            (f"KV capacity in tokens{of}", pool.capacity_tokens),
            (f"KV cache type{of}", pool.cache_type),
        )
        found += [_endpoint(name, value, reading.url) for name, value in known if value is not None]
    return found


def _version(reading: ServerReading) -> list[Fact]:
    """By the endpoint; of a server that says nothing itself, by the report of `kvtop wrap`."""
    if reading.version is None:
        return []
    traits = traits_of(reading.engine)
    if traits is not None and traits.reports_through_wrapper:
        return [Fact("version", reading.version, Origin.FILE, "the memory report of kvtop wrap")]
    return [_endpoint("version", reading.version, reading.url)]


def _endpoint(name: str, value: object, url: str | None) -> Fact:
    return Fact(name, str(value), Origin.ENDPOINT if url is not None else Origin.ARGV, url or "")
