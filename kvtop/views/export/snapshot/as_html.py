"""One Frame as one HTML file: the picture and the tables, with nothing fetched and no script."""

from collections.abc import Sequence
from datetime import UTC, datetime

from kvtop.domain.figure import Basis, Figure
from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.headroom import Disagreement
from kvtop.domain.memory import Segment
from kvtop.text import bytes_text, ratio_text, tokens_text
from kvtop.views.demo_mark import DEMO_SENTENCE
from kvtop.views.export.snapshot.as_markdown import USED_SOURCE
from kvtop.views.export.snapshot.as_svg import picture
from kvtop.views.export.untrusted import xml_text as words
from kvtop.views.segment_table import SEGMENT_TABLE, label_of

_STYLE = """\
body{background:#12151c;color:#c8d0e0;font:15px/1.5 system-ui,sans-serif}
body{margin:2rem auto;max-width:62rem;padding:0 1rem}
svg{max-width:100%;height:auto}h2{margin-top:2.5rem}
table{border-collapse:collapse;width:100%;margin:1rem 0}caption{text-align:left;color:#9aa4b8;padding:.3rem 0}
th,td.w{white-space:nowrap}
th,td{border-bottom:1px solid #2b3342;padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th.n,td.n{text-align:right}td.n{white-space:nowrap;font-variant-numeric:tabular-nums}th{color:#9aa4b8;font-weight:600}
.error{color:#f7768e}.warning{color:#e0af68}.faint{color:#9aa4b8}"""


def html_document(frame: Frame) -> str:
    """A whole document; it needs no network and runs nothing (its own policy forbids both)."""
    taken_at = datetime.fromtimestamp(frame.taken_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    title = f"kvtop snapshot of {frame.host}"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{words(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{words(title)}</h1>",
        *((f'<p class="warning"><strong>{DEMO_SENTENCE}</strong></p>',) if frame.is_demo else ()),
        f'<p class="faint">Taken {taken_at} by kvtop {words(frame.kvtop_version)}. Unknown is written as ?.</p>',
        picture(frame),
        _devices(frame),
        *(_server(view) for view in frame.servers),
    ]
    if frame.pending:
        parts.append(f"<p>Not looked at yet: {words(', '.join(frame.pending))}.</p>")
    if frame.failures:
        rows = [(it.source, it.message, it.remedy) for it in frame.failures]
        parts.append("<h2>What could not be read</h2>" + _table(("where", "what", "what to do"), rows, "failures"))
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _devices(frame: Frame) -> str:
    rows = []
    for view in frame.devices:
        device, memory = view.device, view.device.memory
        sizes = (memory.used_bytes, memory.total_bytes, view.other_bytes)
        rows.append((device.id, device.name, *map(bytes_text, sizes), f"{device.state.value} {device.note}".strip()))
    head = ("device", "name", "used", "total", "other processes", "state")
    return "<h2>Devices</h2>" + _table(head, rows, "devices", numbers=(2, 3, 4))


def _server(view: ServerView) -> str:
    reading, cache = view.reading, view.kv_cache
    bound = "at most " if cache.used_is_upper_bound and cache.used_tokens is not None else ""
    facts = [
        ("model", reading.model.name or reading.model.path),
        ("build", reading.version),
        ("state", f"{reading.state.value} {reading.hint}".strip()),
        ("KV types", f"K {cache.type_k or '?'}, V {cache.type_v or '?'} ({cache.types_source})"),
        ("KV tokens", f"{bound}{tokens_text(cache.used_tokens)} of {tokens_text(cache.capacity_tokens)}"),
        ("KV use", f"{bound}{ratio_text(cache.used_ratio)}"),
        ("verdict", view.verdict.words),
        *((("plan", view.plan_note),) if view.plan_note else ()),
        *(
            (
                "sources disagree",
                f"{label_of(it.segment)} of {it.device_id}: computed {it.computed}, reported {it.reported}",
            )
            for it in view.disagreements
        ),
    ]
    ledger = []
    for split in view.splits:
        ledger.append((split.device_id, "measured total", *_figure(split.driver)))
        for segment, figure in split.memory.parts:
            ledger.append((split.device_id, SEGMENT_TABLE[segment].label, *_figure(figure)))
            if segment is Segment.KV_CACHE and split.kv_used_bytes is not None:
                size = (f"{split.kv_used_bytes:,}", bytes_text(split.kv_used_bytes))
                ledger.append((split.device_id, "of it in use", *size, "computed", USED_SOURCE))
    parts = [
        f"<h2>{words(reading.id)}: {words(reading.engine)}</h2>",
        _table(("what", "value"), facts, "facts"),
        _table(("device", "segment", "bytes", "", "basis", "source"), ledger, "ledger", numbers=(2, 3)),
    ]
    if reading.launch is not None and reading.launch.options:
        flags = [(it.name, it.value, f"{it.origin} {it.detail}".strip()) for it in reading.launch.options]
        parts.append(_table(("effective flag", "value", "learnt from"), flags, "flags"))
    if view.findings:
        rows = [(it.severity, it.code, it.message, it.evidence, it.fix) for it in view.findings]
        parts.append(_table(("severity", "rule", "what", "evidence", "fix"), rows, "findings", whole=(0, 1)))
    return "\n".join(parts)


def _disagreement(it: Disagreement) -> str:
    return f"{label_of(it.segment)} of {it.device_id}: computed {it.computed}, reported {it.reported}"


def _figure(figure: Figure) -> tuple[str, str, str, str]:
    basis = figure.basis.value
    if figure.basis is Basis.ESTIMATED or figure.high_bytes is not None:
        basis += f", {bytes_text(figure.low_bytes)} to {bytes_text(figure.high_bytes)}"
    exact = "?" if figure.value_bytes is None else f"{figure.value_bytes:,}"
    return exact, bytes_text(figure.value_bytes), basis, figure.source


def _table(
    head: tuple[str, ...],
    rows: Sequence[Sequence[str | None]],
    name: str,
    numbers: tuple[int, ...] = (),
    whole: tuple[int, ...] = (),
) -> str:
    """A table with escaped cells; `numbers` are the columns set flush right, `whole` those that are not wrapped."""
    kinds = {**dict.fromkeys(whole, ' class="w"'), **dict.fromkeys(numbers, ' class="n"')}

    def cells(tag: str, row: Sequence[str | None]) -> str:
        return "".join(f"<{tag}{kinds.get(index, '')}>{words(cell)}</{tag}>" for index, cell in enumerate(row))

    lines = [f'<table class="{name}"><thead><tr>{cells("th", head)}</tr></thead><tbody>']
    lines += [f"<tr>{cells('td', row)}</tr>" for row in rows]
    return "\n".join([*lines, "</tbody></table>"])
