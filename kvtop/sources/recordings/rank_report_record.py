"""What a rank reports of its memory, as a recording holds it: a number a segment, under the names of the format."""

from dataclasses import fields
from typing import Any, get_type_hints

import msgspec

from kvtop.domain.engine_report import RankReport, reported
from kvtop.domain.memory import Segment

_SEGMENTS = {
    Segment.WEIGHTS: "weights_bytes",
    Segment.KV_CACHE: "kv_cache_bytes",
    Segment.RECURRENT: "recurrent_bytes",
    Segment.COMPUTE: "graph_bytes",
}
_SAME = tuple(each for each in fields(RankReport) if each.name != "memory")
_HINTS = get_type_hints(RankReport)

RANK_REPORT_RECORD = msgspec.defstruct(
    "RankReportRecord",
    [
        *((name, int | None, None) for name in _SEGMENTS.values()),
        *((each.name, _HINTS[each.name], each.default) for each in _SAME),
    ],
)


def record_of_report(report: RankReport) -> dict[str, object]:
    """What is written of a report."""
    sizes = {name: report.memory.bytes_of(segment) for segment, name in _SEGMENTS.items()}
    return sizes | {each.name: getattr(report, each.name) for each in _SAME}


def report_of_record(record: Any) -> RankReport:  # noqa: ANN401  a struct made above
    """The report of a record."""
    memory = reported({segment: getattr(record, name) for segment, name in _SEGMENTS.items()}, record.source)
    return RankReport(memory=memory, **{each.name: getattr(record, each.name) for each in _SAME})
