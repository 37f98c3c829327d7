"""What one model with its context takes on each device, before it becomes a plan."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvtop.domain.figure import Figure
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.plan import CachePart, allocation_rule
from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.memory.kv_cache import CacheGroup
from kvtop.planning.llamacpp.memory.layout import ModelLayout
from kvtop.planning.llamacpp.memory.placement import HOST
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

    @property
    def rule(self) -> str:
        """Who says its exact figures."""
        return allocation_rule(self.prepared.hparams.build.name)


def held_on(name: str, plans: Iterable[ModelPlan | None], source: str) -> Memory:
    """Weights, KV cache and recurrent state of all of them on one device: exact, by `source`."""
    known = [it for it in plans if it is not None]
    sizes = {
        Segment.WEIGHTS: sum(it.layout.weights_bytes[name] for it in known),
        Segment.KV_CACHE: sum(it.kv_cache_bytes[name] for it in known),
        Segment.RECURRENT: sum(it.recurrent_bytes[name] for it in known),
    }
    return Memory.of({segment: Figure.computed(size, source) for segment, size in sizes.items()})


def scratch_on(name: str, both: Sequence[ModelPlan], buffers: Sequence[Mapping[str, Figure]], source: str) -> Memory:
    """Compute buffers on one device, and the output buffers beside them: exact by `source`, in host memory."""
    compute = Memory.total_of(Memory.of({Segment.COMPUTE: one[name]}) for one in buffers if name in one)
    if not compute[Segment.COMPUTE].most_bytes:
        compute = Memory.of({Segment.COMPUTE: Figure.computed(0, source)})
    output_bytes = sum(one.output_bytes for one in both) if name == HOST else 0
    return compute + Memory.of({Segment.OUTPUT: Figure.computed(output_bytes, source)})
