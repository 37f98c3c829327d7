"""One Frame as Markdown: what one pastes into an issue."""

from datetime import UTC, datetime

from kvtop.domain.figure import Basis, Figure
from kvtop.domain.frame import DeviceView, Finding, Frame, ServerView, Split
from kvtop.domain.memory import Segment
from kvtop.text import bytes_text, ratio_text, tokens_text
from kvtop.views.demo_mark import DEMO_SENTENCE
from kvtop.views.export.untrusted import markdown_code as code
from kvtop.views.export.untrusted import markdown_text as words
from kvtop.views.segment_table import SEGMENT_TABLE, label_of

USED_SOURCE = "tokens held, of the cells there are"


def markdown_document(frame: Frame) -> str:
    """Host, builds, effective flags, the ledger with its basis, findings and what could not be read."""
    taken_at = datetime.fromtimestamp(frame.taken_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"# kvtop snapshot of {words(frame.host)}", ""]
    if frame.is_demo:
        lines += [f"**{DEMO_SENTENCE}**", ""]
    lines += [f"Taken {taken_at} by kvtop {words(frame.kvtop_version)}.", ""]
    lines += _devices(frame.devices)
    for view in frame.servers:
        lines += _server(view)
    if frame.pending:
        lines += [f"Not looked at yet: {', '.join(map(words, frame.pending))}.", ""]
    elif not frame.servers:
        lines += ["No servers were found.", ""]
    if frame.failures:
        lines += ["## What could not be read", ""]
        lines += [_failure(it.source, it.message, it.remedy) for it in frame.failures] + [""]
    return "\n".join(lines)


def _devices(devices: tuple[DeviceView, ...]) -> list[str]:
    lines = ["## Devices", "", "| device | name | used | total | other processes | state |"]
    lines += ["| --- | --- | ---: | ---: | ---: | --- |"]
    for view in devices:
        device, memory = view.device, view.device.memory
        state = device.state.value + (f": {device.note}" if device.note else "")
        sizes = (memory.used_bytes, memory.total_bytes, view.other_bytes)
        lines.append(
            f"| {words(device.id)} | {words(device.name)} | {' | '.join(map(bytes_text, sizes))} | {words(state)} |"
        )
    return [*lines, ""]


def _server(view: ServerView) -> list[str]:
    reading, cache = view.reading, view.kv_cache
    model = reading.model.name or reading.model.path
    lines = [f"## {words(reading.id)}: {words(reading.engine)}", ""]
    lines += [f"- build: {words(reading.version)}", f"- model: {code(model)}"]
    lines += [f"- state: {reading.state.value}" + (f" ({words(reading.hint)})" if reading.hint else "")]
    bound = "at most " if cache.used_is_upper_bound and cache.used_tokens is not None else ""
    held = f"{bound}{tokens_text(cache.used_tokens)} of {tokens_text(cache.capacity_tokens)} tokens"
    types = f"K {words(cache.type_k)}, V {words(cache.type_v)} ({words(cache.types_source)})"
    lines += [f"- KV cache: {types}; {held} ({bound}{ratio_text(cache.used_ratio)})"]
    lines += [f"- verdict: {words(view.verdict.words)}"]
    for it in view.disagreements:
        sizes = f"computed {it.computed}, reported {it.reported}"
        segment = words(label_of(it.segment))
        lines += [f"- sources disagree on {segment} of {words(it.device_id)}: {sizes} ({words(it.source)})"]
    if view.plan_note:
        lines += [f"- plan: {words(view.plan_note)}"]
    lines += ["", *_flags(view), *_ledger(view.splits), *_findings(view.findings)]
    return lines


def _flags(view: ServerView) -> list[str]:
    launch = view.reading.launch
    if launch is None:
        return ["Effective flags: unknown (no process of this host, or its command line is hidden).", ""]
    lines = ["| effective flag | value | source |", "| --- | --- | --- |"]
    for option in launch.options:
        lines.append(
            f"| {code(option.name)} | {code(option.value)} | {words(f'{option.origin} {option.detail}'.strip())} |"
        )
    if launch.unknown:
        lines += ["", f"Not recognised: {', '.join(map(code, launch.unknown))}"]
    return [*lines, ""]


def _ledger(splits: tuple[Split, ...]) -> list[str]:
    if not splits:
        return ["Memory: unknown.", ""]
    lines = ["| device | segment | bytes | | basis | source |", "| --- | --- | ---: | ---: | --- | --- |"]
    for split in splits:
        device = words(split.device_id)
        lines.append(_row(device, "**measured total**", split.driver))
        for segment, figure in split.memory.parts:
            lines.append(_row(device, SEGMENT_TABLE[segment].label, figure))
            if segment is Segment.KV_CACHE and split.kv_used_bytes is not None:
                used = f"{split.kv_used_bytes} | {bytes_text(split.kv_used_bytes)}"
                lines.append(f"| {device} | of it in use | {used} | computed | {USED_SOURCE} |")
    return [*lines, ""]


def _row(device: str, name: str, figure: Figure) -> str:
    size = "?" if figure.value_bytes is None else str(figure.value_bytes)
    basis = figure.basis.value
    if figure.basis is Basis.ESTIMATED or figure.high_bytes is not None:
        basis += f", {bytes_text(figure.low_bytes)} to {bytes_text(figure.high_bytes)}"
    return f"| {device} | {name} | {size} | {bytes_text(figure.value_bytes)} | {basis} | {words(figure.source)} |"


def _findings(findings: tuple[Finding, ...]) -> list[str]:
    lines = []
    for it in findings:
        evidence = f" Evidence: {words(it.evidence)}." if it.evidence else ""
        fix = f" Fix: {words(it.fix)}" if it.fix else ""
        lines.append(f"- **{words(it.severity)} {words(it.code)}** {words(it.message)}{evidence}{fix}")
    return [*lines, ""] if lines else []


def _failure(source: str, message: str, remedy: str) -> str:
    return f"- {code(source)}: {words(message)}" + (f" ({words(remedy)})" if remedy else "")
