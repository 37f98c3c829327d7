"""The state of a server's KV cache in tokens, from slots or from the engine's pool."""

from kvtop.domain.frame import KvCacheView
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.server import ServerReading
from kvtop.planning.protocol.engine_rules import EngineTraits
from kvtop.planning.registry import traits_of


def cache_view(reading: ServerReading, plan: MemoryPlan | None) -> KvCacheView:
    """Capacity, use and types. vLLM and SGLang count their own pools; llama.cpp's slots are summed."""
    if reading.pools:
        return _of_pools(reading, plan)
    return _of_slots(reading, plan)


def _of_pools(reading: ServerReading, plan: MemoryPlan | None) -> KvCacheView:
    type_k, type_v, source = _types(reading, plan)
    capacities = [pool.capacity_tokens for pool in reading.pools]
    known = [tokens for tokens in capacities if tokens is not None]
    capacity_tokens = sum(known) if len(known) == len(capacities) else None
    if capacity_tokens is None and len(reading.pools) == 1 and plan is not None and plan.vllm is not None:
        capacity_tokens = plan.vllm.kv_cache_tokens
    ratios = [pool.used_ratio for pool in reading.pools]
    said = [ratio for ratio in ratios if ratio is not None]
    ratio = sum(said) / len(said) if said and len(said) == len(ratios) else None
    tokens = [pool.held_tokens for pool in reading.pools]
    counted = [count for count in tokens if count is not None]
    used_tokens = sum(counted) if len(counted) == len(tokens) else None
    if used_tokens is None and ratio is not None and capacity_tokens is not None:
        used_tokens = round(ratio * capacity_tokens)
    return KvCacheView(
        type_k=type_k,
        type_v=type_v,
        types_source=source,
        capacity_tokens=capacity_tokens,
        used_tokens=used_tokens,
        used_ratio=ratio,
        bytes_per_token=plan.bytes_per_token if plan is not None else None,
    )


def _of_slots(reading: ServerReading, plan: MemoryPlan | None) -> KvCacheView:
    type_k, type_v, source = _types(reading, plan)
    held = [slot.used_tokens for slot in reading.slots or ()]
    known = [tokens for tokens in held if tokens is not None]
    used_tokens = sum(known) if reading.slots is not None and len(known) == len(held) else None
    capacity_tokens = plan.context.n_ctx if plan is not None and plan.context is not None else None
    is_unified = plan is not None and plan.context is not None and plan.context.kv_unified
    return KvCacheView(
        type_k=type_k,
        type_v=type_v,
        types_source=source,
        capacity_tokens=capacity_tokens,
        used_tokens=used_tokens,
        used_ratio=min(1.0, used_tokens / capacity_tokens) if used_tokens is not None and capacity_tokens else None,
        used_is_upper_bound=is_unified and len([tokens for tokens in known if tokens]) > 1,
        bytes_per_token=plan.bytes_per_token if plan is not None else None,
    )


def _types(reading: ServerReading, plan: MemoryPlan | None) -> tuple[str | None, str | None, str]:
    """K and V types and who says so: where no endpoint says them, the options do, or the engine's default."""
    traits = traits_of(reading.engine)
    if traits is not None and traits.default_cache_types is not None:
        return _typed(reading, traits)
    if plan is not None and plan.type_k is not None:
        return plan.type_k, plan.type_v, f"launch options and {plan.rules_version}"
    said = next((pool.cache_type for pool in reading.pools if pool.cache_type is not None), None)
    return said, said, "the engine's own metrics" if said is not None else "not reported"


def _typed(reading: ServerReading, traits: EngineTraits) -> tuple[str | None, str | None, str]:
    if reading.launch is None or traits.default_cache_types is None:
        return None, None, "not reported"
    type_k, type_v = (reading.launch.get(name) for name in traits.cache_type_options)
    sources = {f"{option.origin} {option.detail}".strip() for option in (type_k, type_v) if option is not None}
    source = ", ".join(sorted(sources)) or f"default of {traits.display_name} {traits.checked_version}"
    default_k, default_v = traits.default_cache_types
    return (type_k.value if type_k else default_k), (type_v.value if type_v else default_v), source
