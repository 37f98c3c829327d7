"""One Frame as text for a terminal: devices, then every server with the ledger of its memory and who says so."""

from datetime import UTC, datetime

from kvtop.domain.figure import Basis, Figure
from kvtop.domain.frame import DeviceView, Frame, ServerView, Split
from kvtop.domain.memory import Segment
from kvtop.text import bytes_text, ratio_text, tokens_text, visible
from kvtop.views.demo_mark import DEMO_SENTENCE
from kvtop.views.segment_table import SEGMENT_TABLE

_ASCII = str.maketrans({"├": "|", "└": "`", "─": "-", "…": "."})
_SEVERITIES = ("error", "warning", "info")


def ledger_text(frame: Frame, *, ascii_only: bool = False) -> str:
    """Lines with a final newline. Segments that are empty are left out; unknown is written as "?"."""
    taken_at = datetime.fromtimestamp(frame.taken_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"{visible(frame.host)}  {taken_at}  kvtop {visible(frame.kvtop_version)}"]
    lines += [DEMO_SENTENCE, ""] if frame.is_demo else [""]
    lines += [_device(view) for view in frame.devices]
    for view in frame.servers:
        lines += ["", *_server(view)]
    if frame.pending:
        lines += ["", f"not looked at yet: {visible(', '.join(frame.pending))}"]
    elif not frame.servers:
        lines += ["", "no server found; kvtop doctor lists what was probed"]
    if frame.failures:
        lines += ["", *(f"not read: {visible(it.source)}: {visible(it.message)}" for it in frame.failures)]
    text = "\n".join(lines) + "\n"
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii") if ascii_only else text


def _device(view: DeviceView) -> str:
    device, memory = view.device, view.device.memory
    parts = [f"{bytes_text(memory.used_bytes)} of {bytes_text(memory.total_bytes)} used"]
    if view.other_bytes:
        parts.append(f"{bytes_text(view.other_bytes)} by other processes")
    if device.utilization_ratio is not None:
        parts.append(f"busy {ratio_text(device.utilization_ratio)}")
    if device.state.value != "ok":
        parts.append(f"{device.state.value} {visible(device.note)}".strip())
    return f"{visible(device.id):<6} {visible(device.name)}: {', '.join(parts)}"


def _server(view: ServerView) -> list[str]:
    reading, cache = view.reading, view.kv_cache
    build = f" {visible(reading.version)}" if reading.version else ""
    model = visible(reading.model.name or reading.model.path or "model unknown")
    lines = [f"{visible(reading.id)}  {visible(reading.engine)}{build}  {model}"]
    hint = f" ({visible(reading.hint)})" if reading.hint else ""
    verdict = "" if view.verdict.words == reading.state.value else f"; {visible(view.verdict.words)}"
    lines.append(f"  {reading.state.value}{hint}{verdict}")
    types = f"K {visible(cache.type_k or '?')}, V {visible(cache.type_v or '?')}"
    bound = "at most " if cache.used_is_upper_bound and cache.used_tokens is not None else ""
    lines.append(
        f"  KV cache {types}: {bound}{tokens_text(cache.used_tokens)} of "
        f"{tokens_text(cache.capacity_tokens)} tokens ({bound}{ratio_text(cache.used_ratio)})"
    )
    for split in view.splits:
        lines += _split(split)
    if not view.splits:
        lines.append(f"  memory unknown{': ' if view.plan_note else ''}{visible(view.plan_note)}")
    for severity in _SEVERITIES:
        lines += [f"  {severity} {it.code} {visible(it.message)}" for it in view.findings if it.severity == severity]
    return lines


def _split(split: Split) -> list[str]:
    rows = [(SEGMENT_TABLE[segment].label, figure, segment) for segment, figure in split.memory.parts]
    shown = [row for row in rows if row[1].value_bytes != 0 or row[2] in {Segment.WEIGHTS, Segment.KV_CACHE}]
    lines = [_row(f"  {visible(split.device_id)}", split.driver)]
    for number, (label, figure, segment) in enumerate(shown, 1):
        branch = "└─" if number == len(shown) else "├─"
        held = split.kv_used_bytes if segment is Segment.KV_CACHE else None
        lines.append(_row(f"  {branch} {label}", figure, "" if held is None else f", {bytes_text(held)} in use"))
    return lines


def _row(name: str, figure: Figure, more: str = "") -> str:
    basis = figure.basis.value
    if figure.basis is Basis.ESTIMATED or figure.high_bytes is not None:
        basis += f", {bytes_text(figure.low_bytes)} to {bytes_text(figure.high_bytes)}"
    return f"{name:<26.26}{bytes_text(figure.value_bytes):>12}  {basis}{more}"
