"""What the engine reports held against what was computed: a difference beyond the stated error is shown."""

from kvtop.analysis.attribution.observation import Observation
from kvtop.domain.figure import Basis, Figure
from kvtop.domain.headroom import Disagreement
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.server import ServerReading


def disagreements(
    reading: ServerReading, plan: MemoryPlan | None, measured: tuple[Observation, ...]
) -> tuple[Disagreement, ...]:
    """Each figure that the engine reports and that was computed too, where they differ."""
    found = [
        wrong
        for it in measured
        if it.planned is not None and it.reported is not None
        for segment, planned in it.planned.parts
        if (wrong := _held_against(segment, it, planned, it.reported[segment])) is not None
    ]
    return (*found, *_pool(reading, plan))


def _held_against(segment: Segment, it: Observation, planned: Figure, reported: Figure) -> Disagreement | None:
    if planned.value_bytes is None or reported.value_bytes is None:
        return None
    slack = (it.rounding_bytes + 1) // 2
    low, high = planned.low_bytes, planned.high_bytes
    if planned.basis is Basis.COMPUTED:
        low = high = planned.value_bytes
    if low is None or high is None or low - slack <= reported.value_bytes <= high + slack:
        return None
    tolerance = slack + max(planned.value_bytes - low, high - planned.value_bytes)
    return Disagreement(
        segment.value, it.device_id, planned.value_bytes, reported.value_bytes, tolerance, reported.source
    )


def _pool(reading: ServerReading, plan: MemoryPlan | None) -> list[Disagreement]:
    """Capacity in tokens: computed from the blocks that the server reports, and as the server counts it itself."""
    if plan is None or plan.vllm is None or plan.vllm.kv_cache_tokens is None or not reading.pools:
        return []
    said, computed = reading.pools[0].capacity_tokens, plan.vllm.kv_cache_tokens
    if said is None or said == computed:
        return []
    return [Disagreement("kv_cache_tokens", "", computed, said, 0, "vllm:cache_config_info on /metrics")]
