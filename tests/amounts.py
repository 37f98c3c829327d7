"""Memory as tests write it down, and bytes of segments that a test knows to be known."""

from kvtop.domain.engine_report import RankReport, reported
from kvtop.domain.figure import NOTHING, Basis, Figure
from kvtop.domain.frame import Split
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.plan import DeviceShare


def share(
    name: str,
    weights: int | None,
    cache: int | None,
    state: int = 0,
    compute: Figure = NOTHING,
    output: int = 0,
) -> DeviceShare:
    """What a plan puts on one device, in bytes."""
    exact = {
        Segment.WEIGHTS: weights,
        Segment.KV_CACHE: cache,
        Segment.RECURRENT: state,
        Segment.OUTPUT: output,
    }
    figures = {segment: Figure.computed(size) for segment, size in exact.items()}
    return DeviceShare(name, Memory.of({**figures, Segment.COMPUTE: compute}))


def rank_report(
    engine_index: int = 0,
    device_id: str | None = None,
    *,
    source: str = "",
    rounding_bytes: int = 0,
    **sizes: int | None,
) -> RankReport:
    """What a rank reports, bytes by the values of Segment (`kv_cache=…`)."""
    memory = reported({Segment(name): size for name, size in sizes.items()}, source)
    return RankReport(engine_index, device_id, memory, rounding_bytes=rounding_bytes, source=source)


def is_exact(part: DeviceShare) -> bool:
    """Whether weights and caches have no range."""
    exact = (part.memory[segment] for segment in (Segment.WEIGHTS, Segment.KV_CACHE, Segment.RECURRENT))
    return all(figure.basis is not Basis.ESTIMATED for figure in exact)


def size_of(holder: DeviceShare | Split, *segments: Segment) -> int:
    """These segments together; an unknown one fails the test."""
    size_bytes = holder.memory.bytes_of(*segments)
    assert size_bytes is not None, segments
    return size_bytes


def low_of(holder: DeviceShare | Split, segment: Segment) -> int:
    """The low end of its range."""
    return holder.memory[segment].least_bytes


def high_of(holder: DeviceShare | Split, segment: Segment) -> int:
    """The high end of its range."""
    size_bytes = holder.memory[segment].most_bytes
    assert size_bytes is not None, segment
    return size_bytes
