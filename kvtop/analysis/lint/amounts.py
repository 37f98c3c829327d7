"""Bytes of plans in words, for rules: always the exact count besides the rounded one."""

from kvtop.analysis.lint.surroundings import Surroundings
from kvtop.domain.answers.plan_answer import device_fit
from kvtop.domain.answers.room import Fit
from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.text import bytes_text

MIB = 1024 * 1024
GIB = 1024 * MIB


def exact(size_bytes: int) -> str:
    """ "1.25 GiB (1342177280 bytes)"."""
    return f"{bytes_text(size_bytes)} ({size_bytes} bytes)"


def device_bytes(part: DeviceShare) -> int:
    """What is known of a device's share, compute at its likeliest."""
    return part.memory.known.value_bytes or 0


def all_bytes(plan: MemoryPlan) -> int:
    """The same over all devices."""
    return sum(device_bytes(part) for part in plan.devices)


def cache_bytes(plan: MemoryPlan) -> int:
    """What is known of caches over all devices, growing or not."""
    return sum(part.memory.bytes_of(segment) or 0 for part in plan.devices for segment in CACHES)


def saved_words(wide: MemoryPlan, narrow: MemoryPlan) -> str:
    """What a narrower cache saves over all, and what it costs elsewhere: "1.70 GiB (… bytes), … more compute".

    Fused attention copies a quantized cache to f16 with some APIs, a layer at a time, in the compute buffer.
    """
    saved, more = all_bytes(wide) - all_bytes(narrow), cache_bytes(wide) - cache_bytes(narrow)
    copied = more - saved
    if copied < MIB:
        return exact(more)
    if saved <= 0:
        return f"nothing: {exact(more)} of cache, and {exact(copied)} more compute for a copy of it as f16: nothing"
    return f"{exact(saved)} in all ({bytes_text(more)} of cache, {bytes_text(copied)} more compute for its copy as f16)"


def weight_bytes(plan: MemoryPlan) -> int | None:
    """Weights over all devices; None where a share is unknown."""
    return plan.memory.bytes_of(Segment.WEIGHTS)


def part_bytes(plan: MemoryPlan, *kinds: str) -> int:
    """The parts of the cache of these kinds."""
    return sum(part.size_bytes for part in plan.cache_parts if part.kind in kinds)


def bits(kind: str) -> float:
    """Bits a value of a llama.cpp cache type."""
    element = CACHE_TYPES[kind]
    return element.block_bytes * 8 / element.block_values


def is_quantized(kind: str) -> bool:
    """Whether several values share a scale."""
    return CACHE_TYPES[kind].is_quantized


def fits_of(plan: MemoryPlan, where: Surroundings, *, on_cards: bool = False) -> set[Fit]:
    """How each device has room for its share; `on_cards`: host memory left out."""
    rooms = where.rooms
    parts = (part for part in plan.devices if not on_cards or part.name != "host")
    return {device_fit(part, rooms.get(part.name)).fit for part in parts}
