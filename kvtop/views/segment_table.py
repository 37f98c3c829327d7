"""What each part of memory is called and how it is drawn: one table for every screen, picture, document and metric."""

from dataclasses import dataclass

from kvtop.domain.memory import Segment


@dataclass(frozen=True, slots=True)
class Look:
    """One part of a bar.

    `role` is its style and its theme variable; `glyph` tells it apart without any colour; `colour` fills it in
    pictures, which have a dark ground.
    """

    role: str
    glyph: str
    label: str
    colour: str
    meaning: str


WEIGHTS = Look("weights", "█", "weights", "#6a8fe8", "the model's tensors")
KV_USED = Look("kv-used", "▓", "KV used", "#4fd1a1", "cells of the KV cache that hold tokens now")
KV_RESERVED = Look("kv-reserved", "░", "KV reserved", "#2b7a61", "allocated cells that hold nothing yet")
RECURRENT = Look(
    "recurrent", "▚", "recurrent state", "#bb9af7", "state of recurrent layers; does not grow with the context"
)
COMPUTE = Look("compute", "▌", "compute", "#e0af68", "scratch buffers of the computation")
RUNTIME = Look("runtime", "▄", "runtime", "#8da2bd", "driver context, kernels, libraries")
UNATTRIBUTED = Look("unattributed", "▒", "unattributed", "#e8839b", "measured, but not explained by any rule")
OTHER = Look("other", "≡", "other", "#737b8c", "processes that are no server, and the driver's own reserve")
FREE = Look("free", "·", "free", "#252b38", "nobody's")

LOOKS = (WEIGHTS, KV_USED, KV_RESERVED, RECURRENT, COMPUTE, RUNTIME, UNATTRIBUTED, OTHER, FREE)
"""In drawing order."""


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """`label` is for people; the word for programs is the Segment's own value, in JSON, CSV, diff and Prometheus alike.

    `look` draws it, a KV cache as far as nobody says that it is used. `old_metric` is what Prometheus called it until
    the word was settled; None where it never had another.
    """

    label: str
    look: Look
    old_metric: str | None = None


SEGMENT_TABLE = {
    Segment.WEIGHTS: SegmentRow("weights", WEIGHTS),
    Segment.KV_CACHE: SegmentRow("KV cache", KV_RESERVED),
    Segment.RECURRENT: SegmentRow("recurrent state", RECURRENT, "state"),
    Segment.COMPUTE: SegmentRow("compute", COMPUTE),
    Segment.OUTPUT: SegmentRow("output", COMPUTE),
    Segment.RUNTIME: SegmentRow("runtime", RUNTIME, "overhead"),
    Segment.UNATTRIBUTED: SegmentRow("unattributed", UNATTRIBUTED),
}
"""In the order in which they are shown."""

TOTAL = "total"
"""All segments of a server on a device together, for people and for programs."""


def label_of(segment: str) -> str:
    """The label of a segment by its value, of its tokens for "kv_cache_tokens"; another word as it is."""
    unit = " tokens" if segment.endswith("_tokens") else ""
    value = segment.removesuffix("_tokens")
    return next((row.label + unit for it, row in SEGMENT_TABLE.items() if it.value == value), segment)
