"""What each segment of memory is called: one word for one thing on every screen and in every document."""

from dataclasses import dataclass

from kvtop.domain.memory import Segment


@dataclass(frozen=True, slots=True)
class SegmentName:
    """`label` is for people; the word for programs is the Segment's own value, in JSON, CSV, diff and Prometheus alike.

    `old_metric` is what Prometheus called it until the word was settled; None where it never had another.
    """

    label: str
    old_metric: str | None = None


SEGMENT_NAMES = {
    Segment.WEIGHTS: SegmentName("weights"),
    Segment.KV_CACHE: SegmentName("KV cache"),
    Segment.RECURRENT: SegmentName("recurrent state", "state"),
    Segment.COMPUTE: SegmentName("compute"),
    Segment.OUTPUT: SegmentName("output"),
    Segment.RUNTIME: SegmentName("runtime", "overhead"),
    Segment.UNATTRIBUTED: SegmentName("unattributed"),
}
"""In the order in which they are shown."""


def label_of(segment: str) -> str:
    """The label of a segment by its value, of its tokens for "kv_cache_tokens"; another word as it is."""
    unit = " tokens" if segment.endswith("_tokens") else ""
    value = segment.removesuffix("_tokens")
    return next((name.label + unit for it, name in SEGMENT_NAMES.items() if it.value == value), segment)
