"""What one model with its context takes on each device, before it becomes a plan."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvtop.domain.plan import CachePart
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.memory.inexact_buffers import Held
from kvtop.planning.llamacpp.memory.kv_cache import CacheGroup
from kvtop.planning.llamacpp.memory.layout import ModelLayout
from kvtop.planning.llamacpp.memory.prepared import PreparedModel


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One context on one model: bytes by device name, and the parts of its cache."""

    prepared: PreparedModel
    context: ResolvedContext
    layout: ModelLayout
    kv_cache_bytes: Mapping[str, int]
    recurrent_bytes: Mapping[str, int]
    parts: tuple[CachePart, ...]
    groups: tuple[CacheGroup, ...]
    output_bytes: int


def held_on(name: str, plans: Iterable[ModelPlan | None]) -> Held:
    """Weights, KV cache and recurrent state of all of them on one device."""
    known = [it for it in plans if it is not None]
    return Held(
        sum(it.layout.weights_bytes[name] for it in known),
        sum(it.kv_cache_bytes[name] for it in known),
        sum(it.recurrent_bytes[name] for it in known),
    )
