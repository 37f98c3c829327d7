"""One Frame as CSV: one row per server, device and segment. A spreadsheet takes no cell of it for a formula."""

import csv
import io
from datetime import UTC, datetime

from kvtop.domain.figure import Figure
from kvtop.domain.frame import Frame, ServerView, Split
from kvtop.domain.memory import Segment
from kvtop.views.export.untrusted import csv_text
from kvtop.views.segment_table import TOTAL

COLUMNS = (
    *("taken_at", "host", "server", "engine", "version", "model", "state", "device", "segment", "bytes", "basis"),
    *("low_bytes", "high_bytes", "used_bytes", "source", "is_demo"),
)
"""Empty is unknown. `is_demo` is "true" where the host is invented.

`segment` is "total" for the measured total, else a part of it; `used_bytes`: of the KV cache.
"""


def csv_document(frame: Frame) -> str:
    """The Frame as CSV (RFC 4180, a header line first). A server of unknown memory has one row without bytes."""
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow(COLUMNS)
    taken_at = datetime.fromtimestamp(frame.taken_at, UTC).isoformat(timespec="milliseconds")
    is_demo = "true" if frame.is_demo else "false"
    for view in frame.servers:
        head = [taken_at, csv_text(frame.host), *_server(view)]
        if not view.splits:
            writer.writerow([*head, "", "", "", "unknown", "", "", "", csv_text(view.plan_note), is_demo])
        for split in view.splits:
            for row in _rows(split):
                writer.writerow([*head, *row, is_demo])
    return target.getvalue()


def _server(view: ServerView) -> list[str]:
    reading = view.reading
    model = reading.model.name or reading.model.path
    return [*map(csv_text, (reading.id, reading.engine, reading.version, model)), reading.state.value]


def _rows(split: Split) -> list[list[str]]:
    device = csv_text(split.device_id)
    rows = [[device, TOTAL, *_figure(split.driver, None)]]
    for segment, figure in split.memory.parts:
        used_bytes = split.kv_used_bytes if segment is Segment.KV_CACHE else None
        rows.append([device, segment.value, *_figure(figure, used_bytes)])
    return rows


def _figure(figure: Figure, used_bytes: int | None) -> list[str]:
    numbers = [_number(size) for size in (figure.value_bytes, figure.low_bytes, figure.high_bytes, used_bytes)]
    return [numbers[0], figure.basis.value, *numbers[1:], csv_text(figure.source)]


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
